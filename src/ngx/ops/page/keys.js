// Keys: who uses how much, and what is left. The gateway filters and sorts, so that one of many thousands is found.

import { compact, exact, words } from './format.js';
import { byId, cell, fillGrowing, keepChildren, make, nameLines, rowHead, setAttribute } from './dom.js';
import { setCount, setGrowing, setNames, setText, show } from './dom.js';
import { showLimits } from './limits.js';

const pageSize = 50;
const typingPause = 150;

const view = { filter: '', sort: 'tokens', offset: 0, matched: 0, told: null };

export function keysQuery() {
    return new URLSearchParams({ view: 'keys', filter: view.filter, sort: view.sort, limit: pageSize, offset: view.offset }).toString();
}

// A gateway that does not filter sends all keys.
function chooseHere(keys) {
    const lower = view.filter.toLowerCase();
    const found = keys.filter((key) => `${key.name}\n${key.user ?? ''}`.toLowerCase().includes(lower));
    const compare = {
        name: (a, b) => (a.name < b.name ? -1 : 1),
        requests: (a, b) => b.requests - a.requests,
        tokens: (a, b) => b.total_tokens - a.total_tokens,
    };
    found.sort(compare[view.sort]);
    return { matched: found.length, keys: found.slice(view.offset, view.offset + pageSize) };
}

function createKey() {
    const key = rowHead('Key');
    key.append(...nameLines());
    const refused = cell('Refused', 'number');
    refused.append(make('span'), make('span', { class: 'more' }));
    const tokens = cell('Tokens', 'number grows');
    fillGrowing(tokens);
    const limits = cell('Left of its limits', 'limits');
    limits.append(make('ul', { class: 'bars' }), make('span', { class: 'more' }));
    return make('tr', { role: 'row' }, key, cell('Running', 'number'), cell('Requests', 'number'), refused, cell('Prompt', 'number'),
                cell('Completion', 'number'), tokens, limits);
}

function aboutKey(key) {
    const user = key.user && key.user !== key.name ? key.user : '';
    const ends = key.expires ? `expires ${String(key.expires).slice(0, 10)}` : '';
    return [user, key.plan && `plan ${key.plan}`, key.blocked && 'blocked', key.enabled === false && 'disabled', ends].filter(Boolean).join(' · ');
}

function fillKey(row, key, most) {
    const [name, running, requests, refused, prompt, completion, tokens, limits] = row.children;
    setNames(name, key.name, aboutKey(key));
    setAttribute(row, 'class', key.blocked || key.enabled === false ? 'off' : null);
    setText(running, exact(key.in_flight));
    setCount(requests, key.requests);
    setCount(refused.children[0], key.refused);
    const reasons = Object.entries(key.refusals ?? {}).filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
    setText(refused.children[1], reasons.map(([reason]) => words(reason)).join(', '));
    show(refused.children[1], reasons.length > 0);
    setAttribute(refused, 'title', reasons.map(([reason, count]) => `${words(reason)} ${exact(count)}`).join(', ') || null);
    setCount(prompt, key.prompt_tokens);
    setCount(completion, key.completion_tokens);
    setGrowing(tokens, compact(key.total_tokens), key.total_tokens / most, exact(key.total_tokens));
    const [list, none] = limits.children;
    showLimits(list, key.limits ?? []);
    show(list, key.limits?.length > 0);
    setText(none, key.limits ? 'no limit' : 'not told');
    show(none, !(key.limits?.length > 0));
}

function rangeText(count) {
    return `${exact(view.offset + 1)} to ${exact(view.offset + count)} of ${exact(view.matched)}`;
}

function emptyText() {
    if (view.filter) {
        return `No key has “${view.filter}” in its name or its user's.`;
    }
    return 'No key has been used yet. A key appears here with its first request.';
}

// Told to a screen reader, but only when what was asked for has changed.
function tellFound() {
    const asked = `${view.filter}\n${view.sort}\n${view.offset}`;
    if (view.told !== null && view.told !== asked) {
        setText(byId('keys-found'), view.matched === 1 ? 'One key' : `${exact(view.matched)} keys`);
    }
    view.told = asked;
}

// True if another page has to be asked for: this one is behind the last key.
export function showKeys(zone) {
    const { keys, matched } = zone.matched == null ? chooseHere(zone.keys ?? []) : zone;
    view.matched = matched;
    if (keys.length === 0 && view.offset > 0) {
        view.offset = 0;
        return true;
    }
    const most = Math.max(1, ...keys.map((key) => key.total_tokens));
    keepChildren(byId('keys').tBodies[0], keys, (key) => key.name, createKey, (row, key) => fillKey(row, key, most));
    setText(byId('keys-count'), matched > 0 ? exact(matched) : '');
    show(byId('keys'), keys.length > 0);
    show(byId('keys-empty'), keys.length === 0);
    setText(byId('keys-empty'), emptyText());
    show(byId('pages'), matched > pageSize);
    setText(byId('range'), rangeText(keys.length));
    byId('back').disabled = view.offset === 0;
    byId('on').disabled = view.offset + keys.length >= matched;
    tellFound();
    return false;
}

// `ask` asks for the keys anew.
export function listenToKeys(ask) {
    let timer = 0;
    const change = (values) => {
        Object.assign(view, values);
        ask();
    };
    byId('filter').addEventListener('input', () => {
        clearTimeout(timer);
        timer = setTimeout(() => change({ filter: byId('filter').value.trim(), offset: 0 }), typingPause);
    });
    byId('sort').addEventListener('change', () => change({ sort: byId('sort').value, offset: 0 }));
    byId('back').addEventListener('click', () => change({ offset: Math.max(0, view.offset - pageSize) }));
    byId('on').addEventListener('click', () => change({ offset: view.offset + pageSize }));
    byId('keys-form').addEventListener('submit', (event) => event.preventDefault());
    // What a browser has kept of an earlier visit.
    view.filter = byId('filter').value.trim();
    view.sort = byId('sort').value;
}

export function forgetPage() {
    view.offset = 0;
}
