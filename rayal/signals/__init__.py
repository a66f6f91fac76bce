"""What a model says about a batch of units: outputs, committees, dropout, gradients."""
