// Requests that run now, and how they grow.

import { age, duration, exact, perSecond, unknown } from './format.js';
import { byId, cell, fillGrowing, keepChildren, make, nameLines, rowHead, setAttribute } from './dom.js';
import { setCount, setGrowing, setNames, setText, show } from './dom.js';

const mostRows = 200;

function speedOf(run) {
    const writing = run.age_ms - run.time_to_first_token_ms;
    return run.stream && run.time_to_first_token_ms != null && writing >= 500 ? run.completion_tokens * 1000 / writing : null;
}

function createRun() {
    const key = rowHead('Key');
    key.append(...nameLines());
    const model = cell('Model');
    model.append(...nameLines());
    const tokens = cell('Tokens so far', 'number grows');
    fillGrowing(tokens);
    return make('tr', { role: 'row', class: 'new' }, cell('No.', 'wide muted'), key, model, cell('Age', 'number'),
                cell('First token', 'number'), cell('Prompt', 'number'), tokens, cell('Tokens/s', 'number'));
}

function fillRun(row, run, most) {
    const [serial, key, model, old, first, prompt, tokens, speed] = row.children;
    setText(serial, run.serial == null ? unknown : String(run.serial));
    setNames(key, run.key, run.user && run.user !== run.key ? run.user : '');
    setNames(model, run.model || unknown, [run.peer, run.stream ? '' : 'not a stream'].filter(Boolean).join(' · '));
    setText(old, age(run.age_ms));
    setText(first, run.stream && run.time_to_first_token_ms === null ? 'waiting' : duration(run.time_to_first_token_ms));
    setAttribute(first, 'class', run.stream && run.time_to_first_token_ms === null ? 'number waits' : 'number');
    setCount(prompt, run.prompt_tokens);
    setGrowing(tokens, exact(run.completion_tokens), run.completion_tokens / most);
    setText(speed, perSecond(speedOf(run)));
}

let shownBefore = false;

export function showRunning(zone) {
    const running = (zone.running ?? []).toSorted((a, b) => b.age_ms - a.age_ms || a.serial - b.serial);
    const some = running.slice(0, mostRows);
    const most = Math.max(1, ...some.map((run) => run.completion_tokens));
    const body = byId('running').tBodies[0];
    keepChildren(body, some, (run, i) => (run.serial == null ? `at ${i}` : run.serial), createRun, (row, run) => fillRun(row, run, most));
    if (!shownBefore) {
        // Only what comes later is new.
        [...body.children].forEach((row) => row.classList.remove('new'));
        shownBefore = true;
    }
    setText(byId('running-count'), exact(running.length));
    show(byId('running'), running.length > 0);
    show(byId('running-empty'), running.length === 0);
    show(byId('running-more'), running.length > some.length);
    setText(byId('running-more'), `and ${exact(running.length - some.length)} more`);
}
