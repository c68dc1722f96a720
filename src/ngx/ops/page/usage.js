// The page of one key: asks for the key, keeps it in a variable only, and shows what it may do and has used. Where nginx knows without a key
// who it is (`identity`), it says so in <body>, and the page asks for a key only if that comes to nothing, or if it is told to.

import { clock, duration, unknown } from './format.js';
import { byId, cell, keepChildren, make, rowHead, setAttribute, setCount, setText, show } from './dom.js';
import { Feed } from './feed.js';
import { showLimits } from './limits.js';

let secret = '';
const isKnown = 'known' in document.body.dataset;
const usedLabels = ['Today', 'This month'].flatMap((when) => ['requests', 'prompt', 'completion'].map((what) => `${when}, ${what}`));

const feed = new Feed({
    query: () => '', headers: () => (secret && { Authorization: `Bearer ${secret}` }), every: 10000, onData: showUsage, onLost: lost,
});

function setState(state, text) {
    setAttribute(document.body, 'data-state', state);
    setText(byId('state'), text);
    show(byId('state-line'), state !== 'none');
}

function forget(why = '') {
    feed.stop();
    secret = '';
    for (const id of ['shown', 'forget', 'lost']) {
        show(byId(id), false);
    }
    show(byId('ask'), true);
    setText(byId('wrong'), why);
    show(byId('wrong'), why !== '');
    setState('none', '');
    byId('key').focus();
}

function lost(error) {
    // Nothing has been shown yet, or the key is not good any more. Nobody has given a key that could be wrong.
    if (error.status === 401 && !secret) {
        forget();
        return;
    }
    if (error.status === 401 || byId('shown').hidden) {
        forget(error.status ? error.message : 'The gateway cannot be reached.');
        return;
    }
    setState('lost', 'No connection');
    setText(byId('lost'), error.status ? `${error.message} Trying again.` : 'The gateway cannot be reached. Trying again.');
    show(byId('lost'), true);
}

// When a window of a quota begins anew is a moment that people know; a rate is full again after a while.
function resetText(ms) {
    const at = new Date(Date.now() + ms);
    const when = ms < 3600000 ? '' : ` (${at.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })})`;
    return `all of it in ${duration(ms)}${when}`;
}

// One cell for each label; `group` is how many belong together.
function usedRow(labels, group) {
    const classOf = (i) => (group && i % group === 0 ? 'number first' : 'number');
    return make('tr', { role: 'row' }, rowHead(''), ...labels.map((label, i) => cell(label, classOf(i))));
}

function fillUsed(node, name, counts) {
    const [head, ...cells] = node.children;
    setText(head, name);
    cells.forEach((one, i) => setCount(one, counts[i]));
}

function totalsOf(data) {
    return [['Today', data.today], ['This month', data.month]].map(([name, used]) => ({
        name: used?.since ? `${name} (since ${used.since.slice(0, 10)}, UTC)` : name,
        counts: [used?.requests, used?.prompt_tokens, used?.completion_tokens, used?.total_tokens, used?.cost],
    }));
}

function showUsage(data) {
    show(byId('ask'), false);
    show(byId('lost'), false);
    for (const id of ['shown', 'forget']) {
        show(byId(id), true);
    }
    byId('key').value = '';
    setText(byId('forget'), secret ? 'Forget the key' : 'Use a key');
    setState('live', 'Live');
    setText(byId('clock'), clock(new Date()));
    setText(byId('key-title'), data.key ?? unknown);
    setText(byId('about-key'), [data.user && data.user !== data.key && `user ${data.user}`, data.plan && `plan ${data.plan}`]
        .filter(Boolean).join(' · '));
    const limits = data.limits ?? [];
    showLimits(byId('limits'), limits, resetText);
    show(byId('limits-empty'), limits.length === 0);
    keepChildren(byId('totals').tBodies[0], totalsOf(data), (_, i) => i, () => usedRow(['Requests', 'Prompt', 'Completion', 'Tokens', 'Cost']),
                 (node, { name, counts }) => fillUsed(node, name, counts));
    const models = data.models ?? [];
    const threeOf = (used) => [used?.requests, used?.prompt_tokens, used?.completion_tokens];
    keepChildren(byId('models').tBodies[0], models, (model) => model.name, () => usedRow(usedLabels, usedLabels.length / 2),
                 (node, model) => fillUsed(node, model.name, [...threeOf(model.today), ...threeOf(model.month)]));
    show(byId('models'), models.length > 0);
    show(byId('models-empty'), models.length === 0);
}

byId('ask').addEventListener('submit', (event) => {
    event.preventDefault();
    secret = byId('key').value.trim();
    show(byId('wrong'), false);
    // What no header can hold is no key, and fetch would only say that the request failed.
    if (!/^[\x21-\x7e]+$/.test(secret)) {
        forget('A key has no blanks and only ASCII characters.');
        return;
    }
    feed.start();
});
byId('forget').addEventListener('click', () => forget());
if (isKnown) {
    show(byId('ask'), false);
    feed.start();
} else {
    byId('key').focus();
}
