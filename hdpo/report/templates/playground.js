{
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const LAST = 1e6; // the toy's chart ends at this step

  // Numbers in words, to two digits.
  const short = (value) => Number(value.toPrecision(2));
  const spaced = (value) => String(short(value)).replace(/^\d{4,}$/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, "\u00a0"));
  const count = (value) => {
    const [size, word] = [[1e9, "\u00a0billion"], [1e6, "\u00a0million"]].find(([size]) => short(value) >= size) ?? [1, ""];
    return spaced(value / size) + word;
  };
  const percent = (share) => {
    const shown = 100 * share;
    return `${shown > 99.99 ? "over\u00a099.99" : shown > 99 ? shown.toFixed(2) : Math.round(shown)}\u00a0%`;
  };

  // A chart with shares from 0 to 1 upwards; `unit` maps a value on the x axis to 0 … 1.
  const chart = (host, height, ticks, unit) => {
    const [left, right, top, bottom] = [48, host.clientWidth - 16, 14, height - 30];
    const image = host.querySelector("svg");
    image.replaceChildren();
    image.setAttribute("viewBox", `0 0 ${host.clientWidth} ${height}`);
    const x = (value) => left + (right - left) * unit(value);
    const y = (share) => bottom - (bottom - top) * Math.min(1, Math.max(0, share));
    const add = (tag, look, attributes, text = "") => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries({ class: look, ...attributes })) element.setAttribute(name, value);
      element.textContent = text;
      image.append(element);
    };
    const line = (points, look) => add("polyline", look, { points: points.map((point) => point.join()).join(" ") });
    const word = (place, height, text, look, anchor = "start") =>
      add("text", look, { x: place, y: height, "text-anchor": anchor }, text);
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      line([[left, y(share)], [right, y(share)]], "grid");
      word(left - 6, y(share) + 4, `${100 * share} %`, "tick", "end");
    }
    for (const [value, text, look = "tick"] of ticks) word(x(value), bottom + 20, text, look, "middle");
    return { x, y, add, line, word, left, right, top, bottom };
  };

  const sliders = ["depth", "weight", "group", "tokens"].map(byId);
  const state = () => {
    const [depth, weight, group, tokens] = sliders.map((slider) => Number(slider.value));
    const changed = { weight: short(10 ** weight), group_size: 2 ** group, tokens: 2 ** tokens };
    return { start: 10 ** -depth, climb: { ...data.climb, ...changed } };
  };
  const places = { success: (p) => -Math.log10(p), weight: Math.log10, group_size: Math.log2, tokens: Math.log2 };
  const set = (values) => {
    Object.keys(places).forEach((name, slider) => {
      if (name in values) sliders[slider].value = places[name](values[name]);
    });
    show();
  };

  const drawToy = (start, climbs, times) => {
    const powers = byId("toy-chart").clientWidth < 560 ? [0, 2, 4, 6] : [0, 1, 2, 3, 4, 5, 6];
    const ticks = powers.map((power) => [10 ** power, power < 6 ? count(10 ** power) : "million"]);
    const unit = (steps) => Math.log10(Math.max(1, steps)) / Math.log10(LAST);
    const { x, y, line, word, left, right } = chart(byId("toy-chart"), 300, ticks, unit);
    climbs.forEach((climb, who) => {
      const [name, look] = [["GRPO", "grpo"], ["HDPO", "hdpo"]][who];
      const rest = climbPath(climb, 0.5, 0.9999).map(([steps, success]) => [steps + times[who], success]);
      const all = [...climbPath(climb, start, 0.5), ...rest];
      const seen = all.filter(([steps]) => steps <= LAST);
      const end = seen.at(-1)[1];
      line([...seen, [LAST, end]].map(([steps, success]) => [x(steps), y(success)]), look);
      if (end < 0.25) return word(right, y(end) - 9 - 18 * who, `${name} waits`, look, "end");
      // HDPO is never the slower one: its name stands left of its curve, GRPO's right of its own.
      const [height, side] = who ? [0.8, -8] : [0.3, 8];
      const at = x(all.find(([, success]) => success >= height)?.[0] ?? LAST) + side;
      const fits = who ? at - 40 > left : at + 40 < right;
      word(fits ? at : at - 2 * side, y(height), name, look, fits === Boolean(who) ? "end" : "start");
    });
  };

  const drawMeasured = (regime, place, weight) => {
    const levels = [...new Set(regime.points.map((point) => point.weight))].sort((a, b) => a - b);
    const unit = (level) => (levels.indexOf(level) + 0.5) / levels.length;
    const ticks = levels.map((level) => (level ? [level, `λ = ${level}`] : [level, "GRPO", "grpo"]));
    const { x, y, add, line, word, left, right, top, bottom } = chart(byId(`measured-${place}`), 240, ticks, unit);
    const above = levels.findIndex((level) => level >= weight);
    if (above > 0 && levels[above - 1] > 0) {
      const share = Math.log(weight / levels[above - 1]) / Math.log(levels[above] / levels[above - 1]);
      const here = x(levels[above - 1]) + share * (x(levels[above]) - x(levels[above - 1]));
      line([[here, top], [here, bottom]], "yours");
      word(here + 4, bottom - 14, "your λ", "tick");
    }
    const teachers = [...new Set(regime.points.map((point) => point.teacher))];
    const lines = teachers.map((teacher) => regime.points.filter((point) => point.teacher === teacher));
    lines.forEach((mine, which) => {
      const { teacher, value } = mine[0];
      const [look, dodge] = !teacher ? ["grpo", 0] : which % 2 ? ["hdpo", -4] : ["hdpo second", 4];
      if (!teacher) line([[left, y(value)], [right, y(value)]], "grpo thin");
      else {
        const height = top + 16 + 20 * (which - 1);
        add("circle", look, { cx: left + 14, cy: height - 4, r: 4.5 });
        word(left + 24, height, `HDPO, ${teacher}`, "hdpo");
      }
      line(mine.map((point) => [x(point.weight) + dodge, y(point.value)]), look);
      for (const point of mine) {
        const at = x(point.weight) + dodge;
        if (point.low !== null) line([[at, y(point.low)], [at, y(point.high)]], `${look} thin`);
        add("circle", look, { cx: at, cy: y(point.value), r: 4.5 });
      }
    });
  };

  const show = () => {
    const { start, climb } = state();
    const { weight, group_size: group, tokens } = climb;
    const chance = `once in ${count(1 / start)}`;
    [chance, weight, group, tokens].forEach((says, slider) => {
      byId(`${sliders[slider].id}-says`).textContent = says;
      sliders[slider].setAttribute("aria-valuetext", says);
    });
    const climbs = [{ ...climb, weight: 0 }, climb];
    const times = climbs.map((each) => climbTime(each, start));
    const [grpo, hdpo] = times.map(count);
    const ratio = times[0] / times[1];
    byId("message").textContent =
      ratio < 1.5 ? `Hardly a difference: GRPO needs ${grpo} steps, HDPO ${hdpo}.`
      : `HDPO opens the cliff in ${hdpo} steps. GRPO needs ${grpo}, ${count(ratio)} times as many.`;
    const teacher = [climb.teacher_rollouts, climb.teacher_success];
    const waits = [expectedWait([group, start]), expectedWait([group, start], teacher)];
    byId("group-fails").textContent = percent(cliffProbability(start, group));
    ["grpo", "hdpo"].forEach((name, who) => {
      byId(`${name}-wait`).textContent = count(waits[who]);
      byId(`${name}-time`).textContent = count(times[who]);
    });
    drawToy(start, climbs, times);
    data.regimes.forEach((regime, place) => drawMeasured(regime, place, weight));
  };

  for (const slider of sliders) slider.addEventListener("input", show);
  for (const button of document.querySelectorAll("button[data-set]")) {
    button.addEventListener("click", () => set(JSON.parse(button.dataset.set)));
  }
  addEventListener("resize", show);
  document.documentElement.classList.add("js");
  set(data.start);
}
