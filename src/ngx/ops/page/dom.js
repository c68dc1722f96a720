// What makes and changes elements. Names come from clients and key files: they only ever become text.

import { compact, exact } from './format.js';

export const byId = (id) => document.getElementById(id);

// An element with these attributes; children are elements or text. `class` is an attribute like others.
export function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    setAttributes(node, attributes);
    node.append(...children);
    return node;
}

export function drawn(tag, attributes = {}, ...children) {
    const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
    setAttributes(node, attributes);
    node.append(...children);
    return node;
}

function setAttributes(node, attributes) {
    for (const [name, value] of Object.entries(attributes)) {
        node.setAttribute(name, value);
    }
}

// These leave alone what is as it should be: screen readers and selections notice each change.
export function setText(node, text) {
    if (node.textContent !== text) {
        node.textContent = text;
    }
}

// Short, with the whole number on the pointer.
export function setCount(node, count) {
    setText(node, compact(count));
    setAttribute(node, 'title', exact(count));
}

export function setAttribute(node, name, value) {
    if (value === null) {
        node.removeAttribute(name);
    } else if (node.getAttribute(name) !== value) {
        node.setAttribute(name, value);
    }
}

export function show(node, visible) {
    if (node.hidden === visible) {
        node.hidden = !visible;
    }
}

// Gives `parent` one child for each item, in this order. A child stays with the key of its item. `create` makes one, `update(child,
// item)` fills it. Returns how many children are new.
export function keepChildren(parent, items, keyOf, create, update) {
    const old = new Map([...parent.children].map((child) => [child.keptFor, child]));
    let fresh = 0;
    let at = parent.firstElementChild;
    for (const [i, item] of items.entries()) {
        const key = keyOf(item, i);
        let child = old.get(key);
        if (child) {
            old.delete(key);
        } else {
            child = create(item);
            child.keptFor = key;
            fresh++;
        }
        update(child, item);
        if (child === at) {
            at = at.nextElementSibling;
        } else {
            parent.insertBefore(child, at);
        }
    }
    for (const child of old.values()) {
        child.remove();
    }
    return fresh;
}

// A cell for a table that becomes cards on a narrow screen, where `label` stands beside it.
export function cell(label, className = '') {
    return make('td', { role: 'cell', 'data-label': label, class: className });
}

export function rowHead(label) {
    return make('th', { role: 'rowheader', scope: 'row', 'data-label': label });
}

// Two lines: a name, and what belongs to it.
export function nameLines() {
    return [make('span', { class: 'name' }), make('span', { class: 'more' })];
}

export function setNames(node, name, more) {
    const [first, second] = node.children;
    setText(first, name);
    setAttribute(first, 'title', name);
    setText(second, more ?? '');
    show(second, Boolean(more));
}

// Part of 1, as the length of a bar. The number itself is always beside it as text.
export function bar() {
    return make('span', { class: 'bar', 'aria-hidden': 'true' }, make('span', { class: 'fill' }));
}

export function setBar(node, part, tone = '') {
    const width = `${Number((Math.min(1, Math.max(0, part || 0)) * 100).toFixed(1))}%`;
    const fill = node.firstElementChild;
    if (fill.style.width !== width) {
        fill.style.width = width;
    }
    setAttribute(node, 'data-tone', tone || null);
}

// A number that is shown in a cell with a bar beside it or below it.
export function fillGrowing(cellOf) {
    cellOf.append(make('div', { class: 'grow' }, make('span'), bar()));
}

export function setGrowing(cellOf, text, part, title = null) {
    const [number, line] = cellOf.firstElementChild.children;
    setText(number, text);
    setAttribute(number, 'title', title);
    setBar(line, part);
}

// A list of {name, value, text, part, tone, title}, each with a bar.
export function showBars(list, rows) {
    keepChildren(list, rows, (row) => row.name,
                 () => make('li', {}, make('span', { class: 'label' }), bar(), make('span', { class: 'value' })),
                 (item, row) => {
                     const [label, line, value] = item.children;
                     setText(label, row.name);
                     setBar(line, row.part, row.tone);
                     setText(value, row.text);
                     setAttribute(item, 'title', row.title ?? null);
                 });
}
