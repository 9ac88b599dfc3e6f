// Shows openapi.json. Texts are set as text and never as HTML, so a comment cannot become markup.
'use strict';

const element = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter(child => child !== null && child !== undefined && child !== ''));
  return node;
};

let api;
const resolve = schema => schema?.$ref ? { ...api.components.schemas[schema.$ref.split('/').pop()], title: schema.$ref.split('/').pop() } : schema ?? {};

const typeName = schema => {
  if (schema.$ref) return schema.$ref.split('/').pop();
  if (schema.anyOf) return schema.anyOf.map(typeName).join(' or ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.join(' | ');
  if (schema.type === 'array') return `list of ${typeName(schema.items ?? {})}`;
  if (schema.additionalProperties && schema.additionalProperties !== true) return `map of ${typeName(schema.additionalProperties)}`;
  const type = Array.isArray(schema.type) ? schema.type.join(' or ') : schema.type ?? 'any JSON';
  return schema.format ? `${type} (${schema.format})` : type;
};

// The schema a reader may want to open further: an object's own, a list's or a map's.
const inner = schema => resolve(schema.items ?? schema.anyOf?.[0] ?? (schema.additionalProperties?.$ref ? schema.additionalProperties : schema));

const fields = (schema, open = []) => {
  const object = inner(resolve(schema));
  const rows = Object.entries(object.properties ?? {}).map(([name, property]) => {
    const child = inner(property);
    const more = child.properties && !open.includes(child.title)
      ? element('details', {}, element('summary', { class: 'quiet' }, 'fields'), element('div', { class: 'nested' }))
      : null;
    // Built when opened: messages may contain each other.
    more?.addEventListener('toggle', () => more.lastChild.hasChildNodes() || more.lastChild.append(fields(property, [...open, child.title])), { once: true });
    return element('tr', {}, element('td', {}, element('code', {}, name)), element('td', {}, element('code', { class: 'quiet' }, typeName(property))),
      element('td', {}, property.description ?? '', more));
  });
  return rows.length ? element('table', {}, ...rows) : element('p', { class: 'quiet' }, typeName(schema));
};

const section = (title, ...content) => content.length ? [element('h3', {}, title), ...content] : [];

const operation = (path, method, details) => {
  const body = element('div');
  const node = element('details', { class: 'operation', id: details.operationId },
    element('summary', {}, element('span', { class: `method ${method}` }, method.toUpperCase()), element('span', { class: 'path' }, path),
      element('span', { class: 'quiet' }, details.summary ?? '')), body);
  node.dataset.text = `${method} ${path} ${details.operationId} ${details.description ?? ''}`.toLowerCase();
  node.addEventListener('toggle', () => {
    if (body.hasChildNodes()) return;
    const parameters = (details.parameters ?? []).map(parameter => element('tr', {},
      element('td', {}, element('code', {}, parameter.name)), element('td', {}, element('code', { class: 'quiet' }, `${parameter.in}, ${typeName(parameter.schema)}`)),
      element('td', {}, parameter.description ?? '')));
    body.append(element('p', {}, details.description ?? details.summary ?? ''),
      ...section('Parameters', ...(parameters.length ? [element('table', {}, ...parameters)] : [])),
      ...Object.entries(details.requestBody?.content ?? {}).slice(0, 1).flatMap(([type, content]) => section(`Body, ${type}`, fields(content.schema))),
      ...Object.entries(details.responses).flatMap(([status, response]) => section(`${status}, ${Object.keys(response.content ?? {}).join(' or ') || 'no body'}`,
        element('p', {}, response.description), ...Object.values(response.content ?? {}).slice(0, 1).map(content => fields(content.schema)))));
  });
  return node;
};

const show = () => {
  document.title = api.info.title;
  document.querySelector('h1').textContent = api.info.title;
  const main = document.querySelector('main');
  main.replaceChildren(element('p', {}, api.info.description ?? ''));
  for (const tag of api.tags) {
    const operations = Object.entries(api.paths).flatMap(([path, item]) =>
      Object.entries(item).filter(([, details]) => details.tags.includes(tag.name)).map(([method, details]) => operation(path, method, details)));
    document.querySelector('nav').append(element('a', { href: `#${tag.name}` }, tag.name));
    main.append(element('section', {}, element('h2', { id: tag.name }, tag.name), element('p', { class: 'quiet' }, tag.description ?? ''), ...operations));
  }
  document.querySelector('input').addEventListener('input', event => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const node of document.querySelectorAll('.operation')) node.hidden = !words.every(word => node.dataset.text.includes(word));
    for (const node of document.querySelectorAll('section')) node.hidden = !node.querySelector('.operation:not([hidden])');
  });
  const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (linked) { linked.open = true; linked.scrollIntoView(); }
};

fetch('/openapi.json').then(response => response.json()).then(document => { api = document; show(); },
  error => document.querySelector('main').replaceChildren(element('p', {}, `The description cannot be loaded: ${error.message}`)));
