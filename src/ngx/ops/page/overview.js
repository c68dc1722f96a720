// The large figures, the lines, and the lists beside them: what is true of the whole zone.

import { bytes, compact, duration, exact, percent, perSecond, unknown, words } from './format.js';
import { byId, keepChildren, make, setAttribute, setText, show, showBars } from './dom.js';
import { fillSeconds, LineChart, meanOf } from './lines.js';

const good = ['ok'];
const bad = ['upstream_error', 'lost'];

const charts = {
    requests: new LineChart(byId('charts'), 'Requests', 'per second', [
        { name: 'let in', tone: 'one', of: (s) => s.requests - (s.refused || 0) },
        { name: 'refused', tone: 'bad', of: (s) => s.refused },
    ]),
    completion: new LineChart(byId('charts'), 'Completion tokens', 'per second', [
        { name: 'completion', tone: 'two', of: (s) => s.completion_tokens },
    ]),
    prompt: new LineChart(byId('charts'), 'Prompt tokens', 'per second', [
        { name: 'prompt', tone: 'three', of: (s) => s.prompt_tokens },
    ]),
};

export function showOverview(zone, nowMs) {
    const seconds = zone.rates ? fillSeconds(zone.rates, nowMs) : null;
    for (const chart of Object.values(charts)) {
        chart.update(seconds ?? fillSeconds([], nowMs), seconds !== null);
    }
    showTiles(zone, seconds);
    showRefusals(zone);
    showOutcomes(zone);
    showFill(zone);
    showSources(zone);
    showFiles(zone);
}

function slowestModel(zone) {
    const p95 = (model) => model?.time_to_first_token_ms?.p95 ?? -1;
    return (zone.models ?? []).reduce((slow, model) => (p95(model) > p95(slow) ? model : slow), null);
}

// The parts that requests are refused without. Others make room by themselves when they are full.
const needed = ['requests', 'counters', 'owners', 'keys', 'zone'];
// Those that fill up. The others are of one size, and always in use.
const filling = [...needed, 'series', 'clients', 'models'];

// How full each part of the zone is that can fill up.
function partsOf(zone) {
    const parts = zone.parts?.length ? zone.parts : [{ name: 'zone', used: 0, free: 0, ...zone.bytes }];
    return parts.filter(({ name, free }) => free > 0 || filling.includes(name)).map(({ name, used, free }) => {
        const full = used + free > 0 ? used / (used + free) : 0;
        const tone = !needed.includes(name) ? '' : full >= 0.9 ? 'bad' : full >= 0.75 ? 'low' : '';
        return { name, used, free, full, tone };
    });
}

function fullest(parts) {
    return parts.filter(({ name }) => needed.includes(name)).reduce((most, part) => (most && most.full >= part.full ? most : part), null);
}

function showTiles(zone, seconds) {
    const mean = (last, of) => (seconds ? meanOf(seconds, last, of) : null);
    const slow = slowestModel(zone);
    const part = fullest(partsOf(zone));
    const asked = mean(60, (s) => s.requests);
    const refused = mean(60, (s) => s.refused);
    const tiles = [
        { name: 'Requests/s', value: perSecond(mean(10, (s) => s.requests)), more: 'mean of 10 s' },
        { name: 'Completion tokens/s', value: perSecond(mean(10, (s) => s.completion_tokens)),
          more: `prompt ${perSecond(mean(10, (s) => s.prompt_tokens))}` },
        { name: 'Running', value: compact(zone.leases?.running ?? zone.running?.length),
          more: `room for ${exact(zone.leases?.capacity)}` },
        { name: 'Time to first token, p95', value: duration(slow?.time_to_first_token_ms.p95), more: slow ? slow.name : 'no stream yet',
          title: slow ? `the slowest model: ${slow.name}` : null },
        { name: 'Refused in the last minute', value: seconds ? compact(Math.round(refused * 60)) : unknown,
          more: asked > 0 ? `${percent(refused / asked)} of requests` : 'no request', tone: refused > asked / 10 ? 'low' : '' },
        { name: 'Fullest part of the zone', value: percent(part?.full), more: words(part?.name ?? ''), tone: part?.tone },
    ];
    keepChildren(byId('tiles'), tiles, (tile) => tile.name,
                 (tile) => make('div', { class: 'card tile' }, make('dt', {}, tile.name), make('dd', { class: 'figure' }),
                                make('dd', { class: 'more' })),
                 (node, tile) => {
                     const [, value, more] = node.children;
                     setText(value, tile.value);
                     setText(more, tile.more);
                     setAttribute(more, 'title', tile.title ?? null);
                     setAttribute(node, 'data-tone', tile.tone || null);
                 });
}

// Counts by name as rows of a list of bars, the largest first.
function countRows(counts, toneOf) {
    const some = Object.entries(counts ?? {}).filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
    const sum = some.reduce((total, [, count]) => total + count, 0);
    const rows = some.map(([name, count]) => ({
        name: words(name), text: compact(count), part: count / sum, tone: toneOf(name), title: `${exact(count)}, ${percent(count / sum)}`,
    }));
    return { rows, sum };
}

function showCounts(id, counts, toneOf) {
    const { rows, sum } = countRows(counts, toneOf);
    showBars(byId(id), rows);
    show(byId(`${id}-empty`), rows.length === 0);
    return sum;
}

function showRefusals(zone) {
    setText(byId('refusals-count'), compact(showCounts('refusals', zone.refusals, () => 'bad')));
}

function showOutcomes(zone) {
    const toneOf = (name) => (good.includes(name) ? 'good' : bad.includes(name) ? 'bad' : 'low');
    setText(byId('outcomes-count'), compact(showCounts('outcomes', zone.totals?.requests, toneOf)));
}

function showSources(zone) {
    showCounts('sources', zone.usage_sources, (name) => (name === 'upstream' ? 'good' : 'low'));
}

function showFill(zone) {
    setText(byId('fill-count'), bytes(zone.size));
    showBars(byId('fill'), partsOf(zone).map(({ name, used, free, full, tone }) => (
        { name: words(name), part: full, tone, text: percent(full), title: `${bytes(used)} of ${bytes(used + free)}` })));
}

// What is wrong with the file as it is now: the keys are still those from before.
function faultOf({ error }) {
    if (!error) {
        return '';
    }
    return `, not as in the file: ${error.line ? `${error.line}:${error.column}: ` : ''}${error.text}`;
}

function showFiles(zone) {
    const files = zone.files ?? [];
    setText(byId('files-count'), zone.generation > 0 ? `version ${exact(zone.generation)}` : '');
    keepChildren(byId('files'), files, (file) => file.path,
                 () => make('li', {}, make('span', { class: 'path' }), make('span', { class: 'value' })),
                 (item, file) => {
                     setText(item.children[0], file.path);
                     setText(item.children[1], `${exact(file.keys)} ${file.keys === 1 ? 'key' : 'keys'}${faultOf(file)}`);
                 });
    show(byId('files-empty'), files.length === 0);
}
