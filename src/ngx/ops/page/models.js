// Models: how much each is used, and how fast it feels.

import { compact, duration, exact, unknown } from './format.js';
import { byId, cell, keepChildren, make, rowHead, setAttribute, setCount, setText, show } from './dom.js';

const percentiles = ['p50', 'p95', 'p99'];
const times = [
    { name: 'First token', of: (model) => model.time_to_first_token_ms, toMs: 1 },
    { name: 'Per token', of: (model) => model.time_per_output_token_us, toMs: 0.001 },
    { name: 'Duration', of: (model) => model.duration_ms, toMs: 1 },
];

function sumOf(counts) {
    return Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0);
}

function createModel() {
    return make('tr', { role: 'row' }, rowHead('Model'), cell('Running', 'number'), cell('Requests', 'number'), cell('Prompt', 'number'),
                cell('Completion', 'number'),
                ...times.flatMap(({ name }) => percentiles.map((p, i) => cell(`${name} ${p}`, i === 0 ? 'number time first' : 'number time'))));
}

function fillModel(row, model) {
    const [name, running, requests, prompt, completion, ...rest] = row.children;
    // Of requests that were refused before their model was known.
    setText(name, model.name || 'not known');
    setText(running, exact(model.in_flight));
    setCount(requests, sumOf(model.requests));
    setCount(prompt, model.prompt_tokens);
    setCount(completion, model.completion_tokens);
    let at = 0;
    for (const { of, toMs } of times) {
        const time = of(model);
        for (const p of percentiles) {
            const value = time?.[p];
            setText(rest[at], value == null ? unknown : duration(value * toMs));
            setAttribute(rest[at], 'title', time?.count > 0 ? `of ${exact(time.count)}` : null);
            at++;
        }
    }
}

export function showModels(zone) {
    const use = (model) => (model.prompt_tokens || 0) + (model.completion_tokens || 0);
    const models = (zone.models ?? []).toSorted((a, b) => use(b) - use(a));
    keepChildren(byId('models').tBodies[0], models, (model) => model.name, createModel, fillModel);
    setText(byId('models-count'), models.length > 0 ? exact(models.length) : '');
    show(byId('models'), models.length > 0);
    show(byId('models-empty'), models.length === 0);
}
