"use strict";
// Draws the figures of the page with bokeh. Names come from files: they are set as text, and never
// as HTML or mathematics.
(() => {
  const P = Bokeh.Plotting;
  const DASHES = {"-": [], "--": [7, 4], "-.": [7, 3, 2, 3], ":": [2, 3]};
  const dark = matchMedia("(prefers-color-scheme: dark)");
  Bokeh.set_log_level("error");

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Bokeh sets what stands between $$ as mathematics; a sign without width keeps them apart.
  const plain = (text, most = 28) => {
    const cut = text.length > most ? `${text.slice(0, most - 1)}…` : text;
    return cut.replace(/\$(?=\$)/g, "$\u200b").replace(/\\(?=[([])/g, "\\\u200b");
  };

  const element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  const tip = (lines, picture) => {
    const made = element("div", "", {style:
      `background:${css("--paper")};color:${css("--ink")};padding:4px 6px;max-width:240px;` +
      "font:12px/1.4 system-ui,sans-serif;overflow-wrap:anywhere"});
    if (picture) {
      made.append(element("img", "", {src: picture, alt: "",
        style: "display:block;width:64px;image-rendering:pixelated;margin-bottom:4px"}));
    }
    for (const line of lines) made.append(element("div", line));
    // The frame around it is bokeh's own, which knows of no dark page.
    requestAnimationFrame(() => {
      const {host} = made.getRootNode();
      for (const [name, of] of [["color", "--paper"], ["border", "--line"], ["arrow-color", "--line"],
        ["arrow-inner-color", "--paper"]]) {
        host?.style.setProperty(`--tooltip-${name}`, css(of));
      }
    });
    return made;
  };

  const number = (value) => value == null ? "–" : Number(value.toPrecision(5)).toLocaleString("en");

  const figure = (place, attributes) => {
    const made = P.figure({
      sizing_mode: "stretch_width", height: 340, toolbar_location: "above", tools: [],
      background_fill_alpha: 0, border_fill_alpha: 0, outline_line_color: null,
      min_border_right: 12, ...attributes,
    });
    made.toolbar.logo = null;
    const soft = css("--soft"), line = css("--line");
    for (const axis of made.axes) {
      axis.axis_label_text_color = soft;
      axis.axis_label_text_font_style = "normal";
      axis.major_label_text_color = soft;
      axis.axis_line_color = line;
      axis.major_tick_line_color = line;
      axis.minor_tick_line_color = null;
    }
    for (const grid of made.grids) grid.grid_line_color = line;
    return made;
  };

  const tools = (made, renderers, tooltips, names) => {
    const add = (tool) => { made.add_tools(tool); return tool; };
    add(new Bokeh.HoverTool({renderers, tooltips, mode: "mouse", point_policy: "snap_to_data", visible: false}));
    const kinds = {pan: Bokeh.PanTool, wheel: Bokeh.WheelZoomTool, box: Bokeh.BoxZoomTool,
                   reset: Bokeh.ResetTool};
    for (const name of names) add(new kinds[name]());
  };

  // Switches: ordinary controls beside the drawing, which a keyboard reaches.
  const switches = (name) => {
    const made = element("fieldset", "", {class: "switches"});
    made.append(element("legend", name));
    return made;
  };

  const switched = (into, text, on, act, colour, dash) => {
    const label = element("label"), box = element("input", "", {type: "checkbox"});
    box.checked = on;
    box.addEventListener("change", () => act(box.checked));
    label.append(box);
    if (colour) {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", "0 0 28 10");
      svg.setAttribute("aria-hidden", "true");
      const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      for (const [key, value] of Object.entries({x1: 0, x2: 28, y1: 5, y2: 5, stroke: colour,
        "stroke-width": 3, "stroke-dasharray": (DASHES[dash] || []).join(" ")})) {
        line.setAttribute(key, value);
      }
      svg.append(line);
      label.append(svg);
    }
    label.append(element("span", text));
    into.append(label);
    act(on);
  };

  const lines = (place, data) => {
    const made = figure(place, {x_axis_label: plain(data.x, 60), y_axis_label: plain(data.y, 60)});
    if (data.series.every((each) => each.x.every(Number.isInteger))) made.xaxes[0].ticker.min_interval = 1;
    if (data.flipped) made.y_range.flipped = true;
    const all = switches("What is shown"), bands = [], dots = [];
    const state = {band: data.series.length <= 5};  // of more arms they hide each other
    const shown = [];
    for (const each of data.series) {
      const at = each.y.map((y, i) => y == null ? NaN : each.x[i]);
      const y = each.y.map((value) => value == null ? NaN : value);
      const own = [], own_bands = [];
      if (data.bands && each.low) {
        const band = made.varea({x: each.x, y1: each.low.map((v) => v ?? NaN),
          y2: each.high.map((v) => v ?? NaN), fill_color: each.colour, fill_alpha: 0.18});
        own_bands.push(band);
        bands.push(band);
      }
      own.push(made.line({x: at, y, line_color: each.colour, line_width: 2,
        line_dash: DASHES[each.line] || []}));
      const source = new Bokeh.ColumnDataSource({data: {x: at, y,
        low: each.low || y, high: each.high || y, share: each.shares || y.map(() => null), size: y.map((_, i) => each.smooth ? 1
          : each.shares ? 4 + 14 * Math.sqrt(each.shares[i]) : 6)}});
      const dot = made.scatter({field: "x"}, {field: "y"}, {source, size: {field: "size"},
        fill_color: each.colour, line_color: null});
      dot.data_source.name = each.name;
      own.push(dot);
      dots.push(dot);
      if (each.rings && each.rings.length) {
        own.push(made.scatter({x: each.rings.map((r) => r[0]), y: each.rings.map((r) => r[1]),
          size: 7, fill_color: null, line_color: each.colour}));
      }
      shown.push({own, own_bands, on: true, each});
    }
    if (data.diagonal) {
      made.line({x: [0, data.diagonal], y: [0, data.diagonal], line_color: css("--soft"), line_dash: [3, 4]});
    }
    for (const height of data.heights) {
      made.add_layout(new Bokeh.Span({location: height.at, dimension: "width",
        line_color: css("--ink"), line_dash: [7, 4], line_width: 1.2}));
    }
    const update = () => {
      for (const one of shown) {
        for (const renderer of one.own) renderer.visible = one.on;
        for (const renderer of one.own_bands) renderer.visible = one.on && state.band;
      }
    };
    for (const one of shown) {
      const name = `${one.each.name} (${one.each.size})`;
      switched(all, name, true, (on) => { one.on = on; update(); }, one.each.colour, one.each.line);
    }
    if (bands.length) switched(all, data.band || "95 % bands", state.band, (on) => { state.band = on; update(); });
    for (const height of data.heights) {
      all.append(element("span", `dashed: ${height.name}, ${number(height.at)}`));
    }
    tools(made, dots, (source, vars) => {
      const {index} = vars, column = (name) => source.get_column(name)[index];
      const half = (column("high") - column("low")) / 2;
      const share = column("share");
      return tip([source.name, `${data.x}: ${number(column("x"))}`, `${data.y}: ${number(column("y"))}` +
        (half > 0 ? ` (${number(column("low"))} to ${number(column("high"))})` : ""),
        ...(share == null ? [] : [`${number(Number((100 * share).toPrecision(2)))} % of the images`])]);
    }, ["box", "reset"]);
    place.append(all);
    return made;
  };

  const mixed = (stops, share) => {
    const at = Math.max(0, Math.min(1, share)) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at));
    return stops[low].map((value, i) => Math.round(value + (stops[low + 1][i] - value) * (at - low)));
  };
  const SEQUENTIAL = [[255, 255, 217], [161, 218, 180], [65, 182, 196], [34, 94, 168], [8, 29, 88]];
  const DIVERGING = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]];

  // What the colours of a heat map mean.
  const scale = (data, stops) => {
    const made = element("p", "", {class: "scale", "aria-hidden": "true"});
    const colours = stops.map((colour) => `rgb(${colour})`).join(",");
    const shown = (value) => number(Number(value.toFixed(data.digits)));
    made.append(element("span", shown(data.low)),
      element("span", "", {style: `background:linear-gradient(to right,${colours})`}),
      element("span", `${shown(data.high)}${data.more ? " and more" : ""}`));
    return made;
  };

  const heat = (place, data) => {
    const stops = data.middle == null ? SEQUENTIAL : DIVERGING;
    place.append(scale(data, stops));
    // Where most are 0, zeros are left blank: the others stand out.
    const flat = data.values.flat(), sparse = 2 * flat.filter((value) => value === 0).length > flat.length;
    const count = data.rows.length, wide = data.columns.length, cells = {};
    for (const key of ["x", "y", "fill", "ink", "said", "inside", "row", "column"]) cells[key] = [];
    data.values.forEach((row, r) => row.forEach((value, c) => {
      const share = value == null ? null : (value - data.low) / ((data.high - data.low) || 1);
      const [red, green, blue] = share == null ? [136, 136, 136]
        : mixed(stops, share);
      cells.x.push(c + 0.5);
      cells.y.push(r + 0.5);
      cells.fill.push(`rgb(${red},${green},${blue})`);
      cells.ink.push(0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#111111" : "#ffffff");
      cells.said.push(value == null ? "–" : value.toFixed(data.digits));
      cells.inside.push(value === 0 && sparse ? "" : cells.said.at(-1));
      cells.row.push(data.rows[r]);
      cells.column.push(data.columns[c]);
    }));
    const names = count <= 64;
    const made = figure(place, {
      toolbar_location: null, height: Math.min(900, 90 + Math.max(40, count * (names ? 24 : 3))),
      x_range: [0, wide], y_range: [count, 0], x_axis_label: plain(data.x, 60),
    });
    made.xgrid.visible = made.ygrid.visible = false;
    const source = new Bokeh.ColumnDataSource({data: cells});
    const field = (name) => ({field: name});
    const rects = made.rect(field("x"), field("y"), 1, 1, {source, fill_color: field("fill"),
      line_color: css("--paper"), line_width: names ? 1 : 0});
    if (names && wide <= 16 && place.clientWidth / wide > 34) {
      made.text(field("x"), field("y"), field("inside"), {source, text_color: field("ink"),
        text_align: "center", text_baseline: "middle", text_font_size: "11px"});
    }
    const axis = (one, labels, most) => {
      const every = Math.max(1, Math.ceil(labels.length / most));
      const kept = labels.map((label, i) => i).filter((i) => i % every == 0);
      one.ticker = new Bokeh.FixedTicker({ticks: kept.map((i) => i + 0.5), minor_ticks: []});
      one.major_label_overrides = new Map(kept.map((i) => [i + 0.5, plain(labels[i], 18)]));
      one.axis_line_color = null;
      one.major_tick_line_color = null;
    };
    axis(made.xaxes[0], data.columns, Math.max(2, Math.floor(place.clientWidth / 60)));
    axis(made.yaxes[0], data.rows, names ? 64 : 20);
    if (data.columns.some((label) => label.length > 8)) made.xaxes[0].major_label_orientation = 0.6;
    tools(made, [rects], (from, {index}) => tip([from.get_column("row")[index],
      `${data.x} ${from.get_column("column")[index]}`.trim(), from.get_column("said")[index]]), []);
    return made;
  };

  const ranks = (place, data) => {
    const count = data.names.length, bars = data.together.length;
    const made = figure(place, {toolbar_location: null, height: 90 + 26 * (count + bars + 1), x_axis_label: "Mean rank, 1 is the best",
      x_range: [0.8, count + 0.2], y_range: [count + bars + 1, 0]});
    const rows = data.names.map((name, i) => i + 0.5);
    made.ygrid.visible = false;
    data.together.forEach(([low, high], i) => {
      const y = count + i + 0.5;
      made.segment({x0: low - 0.02, y0: y, x1: high + 0.02, y1: y, line_color: css("--ink"), line_width: 5});
    });
    made.segment({x0: 1, y0: count + bars + 0.5, x1: 1 + data.critical, y1: count + bars + 0.5,
      line_color: css("--accent"), line_width: 2});
    const dots = made.scatter({x: data.ranks, y: rows, size: 10, fill_color: css("--accent"), line_color: null});
    const [axis] = made.yaxes;
    const ticks = [...rows, ...(bars ? [count + bars / 2] : []), count + bars + 0.5];
    const names = [...data.names, ...(bars ? ["not separated"] : []), "critical difference"];
    axis.ticker = new Bokeh.FixedTicker({ticks, minor_ticks: []});
    axis.major_label_overrides = new Map(ticks.map((tick, i) => [tick, plain(names[i])]));
    axis.axis_line_color = axis.major_tick_line_color = null;
    tools(made, [dots], (source, {index}) => tip([data.names[index], `mean rank ${number(data.ranks[index])}`]), []);
    return made;
  };

  const map = (place, data) => {
    const bought = [...new Set(data.cycles.filter((c) => c != null))].sort((a, b) => a - b);
    const last = bought.length ? bought[bought.length - 1] : 0;
    const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
    const colour = (cycle) => {
      const [red, green, blue] = cycle < 0 ? [213, 94, 0] : mixed(stops, last > 0 ? cycle / last : 0);
      return `rgb(${red},${green},${blue})`;
    };
    const made = figure(place, {height: Math.min(520, Math.max(320, place.clientWidth * 0.6)),
      x_axis_label: data.axes[0], y_axis_label: data.axes[1]});
    const column = (kept, of) => kept.map((i) => of[i]);
    const scattered = (kept, style) => {
      const source = new Bokeh.ColumnDataSource({data: {x: column(kept, data.x), y: column(kept, data.y)}});
      const dots = made.scatter({field: "x"}, {field: "y"}, {source, ...style});
      dots.data_source.name = JSON.stringify(kept);
      return dots;
    };
    const of = (cycle) => data.cycles.map((c, i) => i).filter((i) => data.cycles[i] === cycle);
    const all = [scattered(of(null), {size: 4, fill_color: css("--soft"), fill_alpha: 0.35, line_color: null})];
    const layers = bought.map((cycle) => {
      const dots = scattered(of(cycle), {size: 8, fill_color: colour(cycle), line_color: css("--ink"), line_width: 0.6});
      all.push(dots);
      return {cycle, dots};
    });
    tools(made, all, (source, {index}) => {
      const at = JSON.parse(source.name)[index], cycle = data.cycles[at];
      return tip([data.ids[at], data.classes[data.labels[at]], cycle == null ? "not bought"
        : cycle < 0 ? "among the first labels" : `bought by cycle ${cycle}`].filter(Boolean), data.pictures[at]);
    }, ["pan", "wheel", "reset"]);
    const controls = switches("What is shown");
    if (layers.length > 1) {
      const label = element("label", "", {class: "range"}), range = element("input", "", {type: "range", min: bought[0], max: last, step: 1});
      const said = element("output");
      range.value = String(last);
      const update = () => {
        const to = Number(range.value);
        said.textContent = to < 0 ? "first labels only" : `cycle ${to}`;
        for (const {cycle, dots} of layers) dots.visible = cycle <= to;
      };
      range.addEventListener("input", update);
      label.append(element("span", "Bought up to"), range, said);
      controls.append(label);
      update();
    }
    for (const {cycle, dots} of layers.filter(() => layers.length <= 12)) {
      const key = element("span", "");
      key.append(element("span", "", {class: "dot", style: `background:${colour(cycle)}`}));
      key.append(document.createTextNode(cycle < 0 ? "first labels" : `cycle ${cycle}`));
      controls.append(key);
    }
    place.append(controls);
    return made;
  };

  const draws = {lines, heat, ranks, map};

  const draw = async (place) => {
    const data = JSON.parse(place.nextElementSibling.textContent);
    place.replaceChildren();
    place.style.display = "block";
    const canvas = element("div", "", {role: "group", "aria-label": place.dataset.says});
    const made = draws[place.dataset.draws](place, data);
    place.append(canvas);
    place.dataset.drawn = "no";
    await P.show(made, canvas);
    place.dataset.drawn = "yes";
  };

  const visible = (place) => place.closest("details:not([open])") === null;
  const every = () => document.querySelectorAll(".figure");
  const all = () => {
    for (const place of every()) {
      if (visible(place)) draw(place);
      else place.dataset.drawn = "later";
    }
  };
  for (const fold of document.querySelectorAll("details.fold")) {
    fold.addEventListener("toggle", () => {
      for (const place of fold.querySelectorAll(".figure")) {
        if (fold.open && place.dataset.drawn === "later" && visible(place)) draw(place);
      }
    });
  }
  dark.addEventListener("change", all);
  all();
})();
