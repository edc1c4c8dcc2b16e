// A pipeline's graph: dagre says where each step stands, here they are put there and joined by curves.

const GAP = 14;
const known = new Map();

function laidOut(items) {
  const shape = items.map(({ dataset }) => [dataset.name, dataset.waits]).join("\n");
  if (known.has(shape)) return known.get(shape);
  const graph = new dagre.graphlib.Graph().setDefaultEdgeLabel(() => ({}));
  graph.setGraph({ rankdir: "LR", nodesep: 18, ranksep: 54 });
  for (const item of items) graph.setNode(item.dataset.name, { width: 176, height: item.firstElementChild.offsetHeight });
  for (const item of items) {
    for (const from of JSON.parse(item.dataset.waits)) if (graph.hasNode(from)) graph.setEdge(from, item.dataset.name);
  }
  dagre.layout(graph);
  known.set(shape, graph);
  return graph;
}

function curve(graph, edge) {
  const from = graph.node(edge.v), to = graph.node(edge.w);
  const x1 = from.x + from.width / 2, x2 = to.x - to.width / 2;
  const between = graph.edge(edge).points.slice(1, -1).filter(({ x }) => x > x1 && x < x2);
  let path = `M${x1} ${from.y}`, x = x1, y = from.y;
  for (const point of [...between, { x: x2, y: to.y }]) {
    const middle = (x + point.x) / 2;
    path += `C${middle} ${y} ${middle} ${point.y} ${point.x} ${point.y}`;
    ({ x, y } = point);
  }
  return path;
}

export function drawGraphs(root) {
  for (const place of root.querySelectorAll(".graph")) {
    const list = place.querySelector("ol"), items = [...list.children];
    if (!items.length || !window.dagre) continue;
    const graph = laidOut(items), { width, height } = graph.graph();
    place.classList.add("is-laid-out");
    list.style.width = `${width}px`;
    list.style.height = `${height}px`;
    for (const item of items) {
      const node = graph.node(item.dataset.name);
      item.style.transform = `translate(${node.x - node.width / 2}px, ${node.y - node.height / 2}px)`;
    }
    place.querySelector("svg.edges")?.remove();
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "edges");
    svg.setAttribute("aria-hidden", "true");
    svg.style.left = svg.style.top = `${GAP}px`;
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    for (const edge of graph.edges()) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", curve(graph, edge));
      path.dataset.ends = JSON.stringify([edge.v, edge.w]);
      svg.append(path);
    }
    place.prepend(svg);
    for (const item of items) {
      const light = (isLit) => svg.querySelectorAll("path").forEach((path) => {
        path.classList.toggle("is-lit", isLit && JSON.parse(path.dataset.ends).includes(item.dataset.name));
      });
      item.onpointerenter = item.onfocusin = () => light(true);
      item.onpointerleave = item.onfocusout = () => light(false);
    }
  }
}
