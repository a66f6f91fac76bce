"""Score a pool as a Ray job: `rayal score` with the same options, on the cluster that runs it.

    ray job submit --address http://head:8265 --submission-id score-photos --working-dir . -- \\
        python jobs/score_pool.py --checkpoint s3://bucket/model.safetensors \\
        --pool s3://bucket/photos --strategies entropy,margin --out s3://bucket/scores

Every path must mean the same on all nodes: storage that they share, or a URL. A job that was
stopped or killed goes on where it was when the same command is submitted again, under another id.
"""

import sys

from rayal.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["score"]
    main()
