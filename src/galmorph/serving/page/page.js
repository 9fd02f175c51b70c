"use strict";
// The page of the service. Texts from the server are put in as text, never as markup.

const at = (id) => document.getElementById(id);
const percent = (share) => (share === null ? "not measured" : `${Math.round(100 * share)} %`);
let given = null; // the image that is shown: {blob, name}
let asked = 0; // an answer that comes after a later question was put is passed over

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function fail(message) {
  at("status").textContent = "";
  at("error").textContent = message;
  at("error").hidden = false;
}

async function problem(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The service answered ${response.status}.`;
  }
}

function headers() {
  const key = at("key").value.trim();
  return key ? { "X-API-Key": key, Accept: "application/json" } : { Accept: "application/json" };
}

async function explain(blob, name, label) {
  const question = ++asked;
  at("error").hidden = true;
  at("status").textContent = `Looking at ${name} …`;
  const form = new FormData();
  form.append("image", blob, name);
  const query = label ? `?label=${label}` : "";
  let response;
  try {
    response = await fetch(`/v1/explanations${query}`, { method: "POST", body: form, headers: headers() });
  } catch {
    if (question === asked) fail("The service cannot be reached. Check the connection, and try again.");
    return;
  }
  if (question !== asked) return;
  if (!response.ok) {
    if (response.status === 401) {
      at("key-box").hidden = false;
      at("key").focus();
    }
    at("result").hidden = true;
    fail(await problem(response));
    return;
  }
  given = { blob, name };
  show(await response.json(), !label);
}

function show(found, fresh) {
  const { answer, heat_map: map } = found;
  at("status").textContent = `${answer.label}, probability of Elliptical ${answer.p_elliptical.toFixed(3)}.`;
  at("answer").textContent = answer.label;
  at("named").textContent = `${found.name}, answered by ${found.model.name} (${found.model.experiment}, data ${found.model.data_digest.slice(0, 12)})`;
  at("probability").textContent = answer.p_elliptical.toFixed(3);
  at("bar").style.width = `${100 * answer.p_elliptical}%`;
  at("line").style.left = `${100 * found.model.threshold}%`;
  at("near").hidden = !answer.near_threshold;
  at("cutout").src = found.cutout;
  at("cutout").alt = `The cutout ${found.name}`;
  at("layer").hidden = map.layer === null;
  if (map.layer !== null) {
    at("layer").src = map.layer;
    at("layer").alt = `Heat map of what speaks for ${found.explained}: ${percent(map.galaxy)} of it lies on the galaxy`;
  }
  at("map-text").textContent = map.text;
  at("map-controls").hidden = map.layer === null;
  at("which").hidden = !map.available;
  for (const choice of document.querySelectorAll("input[name=label]")) choice.checked = choice.value === found.explained;
  shares(map);
  at("reasons").replaceChildren(...found.reasons.flatMap((part) => [element("h3", part.heading), element("p", part.text)]));
  at("result").hidden = false;
  if (fresh) {
    at("result").focus({ preventScroll: true });
    at("result").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion)").matches ? "auto" : "smooth" });
  }
}

function shares(map) {
  at("shares").hidden = map.empty || !map.available;
  const rows = [
    ["On the galaxy", map.galaxy],
    ["On neighbouring objects", map.neighbours],
    ["On empty sky", map.sky],
    ["The galaxy's part of what the model sees", map.uniform],
  ];
  at("shares").tBodies[0].replaceChildren(
    ...rows.map(([name, share]) => {
      const row = element("tr", null);
      row.append(element("th", name, { scope: "row" }), element("td", percent(share)));
      return row;
    }),
  );
}

async function introduce() {
  const response = await fetch("/v1/model", { headers: headers() }).catch(() => null);
  if (response === null || !response.ok) {
    at("model-problem").textContent = response === null ? "The service cannot be reached." : await problem(response);
    at("model-problem").hidden = false;
    at("key-box").hidden = response === null || response.status !== 401;
    return;
  }
  at("key-box").hidden = true;
  const model = await response.json();
  const facts = [
    ["Model", model.name],
    ["Experiment", `${model.experiment} (${model.architecture}, ${model.variant} images)`],
    ["Registered", model.created],
    ["Data", model.data_digest],
    ["Weights", model.model_digest],
    ["Right on galaxies kept aside", model.accuracy === null ? "not known here" : percent(model.accuracy)],
    ["Sees", `the middle ${percent(model.crop)} of a cutout, at ${model.image_size} pixels`],
  ];
  at("model").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  at("model-problem").hidden = !model.problem;
  at("model-problem").textContent = model.problem;
  at("report").hidden = model.report === null;
  at("card-box").hidden = model.card === null;
  at("card").textContent = model.card ?? "";
  at("examples").replaceChildren(...model.examples.map(example));
  at("examples-box").hidden = model.examples.length === 0;
}

function example(name, number) {
  const item = element("li", null);
  const button = element("button", null, { type: "button" });
  button.append(element("img", null, { src: `/examples/${number}`, alt: `Example ${name}` }));
  button.addEventListener("click", async () => {
    const response = await fetch(`/examples/${number}`);
    if (response.ok) await explain(await response.blob(), name);
    else fail(await problem(response));
  });
  item.append(button);
  return item;
}

at("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) explain(file, file.name);
});
at("key-box").addEventListener("submit", (event) => {
  event.preventDefault();
  introduce();
});
at("opacity").addEventListener("input", opacity);
for (const choice of document.querySelectorAll("input[name=label]")) {
  choice.addEventListener("change", () => given && explain(given.blob, given.name, choice.value));
}
const drop = at("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  // Anywhere on the page: a file dropped beside the box would otherwise replace the page.
  window.addEventListener(kind, (event) => event.preventDefault());
  drop.addEventListener(kind, () => drop.classList.toggle("over", kind === "dragover"));
}
drop.addEventListener("drop", (event) => {
  const [file] = event.dataTransfer.files;
  if (file) explain(file, file.name);
});

function opacity() {
  at("layer").style.opacity = at("opacity").value / 100;
  at("opacity-value").textContent = `${at("opacity").value} %`;
}
opacity();
introduce();
