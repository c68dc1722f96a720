// Lines over the last five minutes.

import { clock, perSecond } from './format.js';
import { drawn, make, setAttribute, setText, show } from './dom.js';

export const shownSeconds = 300;
// A second by itself says little: the line is the mean of the last few, the shade behind it each single one.
const smooth = 5;

// One record for each of the last shownSeconds whole seconds, the newest last. Seconds that are left out had nothing in them.
export function fillSeconds(rates, nowMs) {
    const end = Math.floor(nowMs / 1000);
    const bySecond = new Map(rates.map((rate) => [rate.second, rate]));
    return Array.from({ length: shownSeconds }, (_, i) => {
        const second = end - shownSeconds + i;
        return bySecond.get(second) ?? { second };
    });
}

export function meanOf(seconds, last, valueOf) {
    const some = seconds.slice(-last);
    return some.reduce((sum, second) => sum + (valueOf(second) || 0), 0) / some.length;
}

function means(values) {
    let sum = 0;
    return values.map((value, i) => {
        sum += value - (i >= smooth ? values[i - smooth] : 0);
        return Math.max(0, sum) / Math.min(i + 1, smooth);
    });
}

// The next number that has few digits, and half of which has.
export function niceTop(value) {
    if (!(value > 0)) {
        return 1;
    }
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value) * power;
}

export class LineChart {
    #series;
    #seconds = [];
    #top = 1;
    #paths;
    #shade;
    #cursor;
    #labels;
    #readout;
    #summary;
    #rows;
    #empty;
    #plot;

    // series: {name, tone, of(second)}; the first one has a shade.
    constructor(parent, title, unit, series) {
        this.#series = series;
        this.#shade = drawn('path', { class: 'shade', 'data-tone': series[0].tone });
        this.#paths = series.map((one) => drawn('path', { class: 'line', 'data-tone': one.tone }));
        this.#cursor = drawn('line', { class: 'cursor', y1: 0, y2: 100, visibility: 'hidden' });
        const grid = [0, 50].map((y) => drawn('line', { class: 'grid', x1: 0, x2: shownSeconds, y1: y, y2: y }));
        const picture = drawn('svg', { viewBox: `0 0 ${shownSeconds} 100`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
                              ...grid, drawn('line', { class: 'axis', x1: 0, x2: shownSeconds, y1: 100, y2: 100 }),
                              this.#shade, ...this.#paths.toReversed(), this.#cursor);
        this.#labels = ['top', 'middle', 'bottom'].map((place) => make('span', { class: `scale ${place}`, 'aria-hidden': 'true' }));
        this.#empty = make('p', { class: 'empty over' });
        this.#plot = make('div', { class: 'plot' }, picture, ...this.#labels, this.#empty);
        this.#plot.addEventListener('pointermove', (event) => this.#pointAt(event));
        this.#plot.addEventListener('pointerleave', () => this.#pointAt(null));
        this.#readout = make('span', { class: 'readout', 'aria-hidden': 'true' });
        const legend = make('ul', { class: 'legend', 'aria-hidden': 'true' },
                            ...series.map((one) => make('li', { 'data-tone': one.tone }, one.name)));
        this.#summary = make('p', { class: 'unseen' });
        this.#rows = make('tbody');
        const heads = ['Minute', ...series.map((one) => one.name)];
        const table = make('table', {}, make('caption', { class: 'unseen' }, `${title}: means of each minute`),
                           make('thead', {}, make('tr', {}, ...heads.map((head) => make('th', { scope: 'col' }, head)))), this.#rows);
        parent.append(make('figure', { class: 'card chart' },
                           make('figcaption', {}, make('h3', {}, title, ' ', make('span', { class: 'unit' }, unit)), this.#readout, legend),
                           this.#summary, this.#plot,
                           make('p', { class: 'times', 'aria-hidden': 'true' }, make('span', {}, '5 min ago'), make('span', {}, 'now')),
                           make('details', {}, make('summary', {}, 'As a table', make('span', { class: 'unseen' }, `: ${title}`)), table)));
    }

    update(seconds, isTold) {
        setText(this.#empty, isTold ? 'Nothing in the last five minutes.' : 'This gateway does not tell it.');
        this.#seconds = seconds;
        // The gateway may have forgotten the oldest seconds: the line begins behind them.
        const begin = Math.max(0, seconds.slice(0, 2 * smooth).findIndex((second) => second.requests != null));
        const values = this.#series.map((one) => seconds.slice(begin).map((second) => one.of(second) || 0));
        const lines = values.map(means);
        // The line has to fit, and of single seconds all but the highest few: one burst must not flatten the rest.
        const singles = values[0].toSorted((a, b) => a - b);
        const highest = Math.max(...lines.flat(), singles[Math.floor(singles.length * 0.98)]);
        this.#top = niceTop(highest);
        const yOf = (value) => (100 - 100 * Math.min(value / this.#top, 1)).toFixed(2);
        for (const [i, line] of lines.entries()) {
            setAttribute(this.#paths[i], 'd', `M${line.map((value, x) => `${begin + x + 0.5},${yOf(value)}`).join('L')}`);
        }
        const steps = values[0].map((value, x) => `L${begin + x},${yOf(value)}H${begin + x + 1}`).join('');
        setAttribute(this.#shade, 'd', `M${begin},100${steps}V100Z`);
        for (const [i, label] of this.#labels.entries()) {
            setText(label, perSecond(this.#top * (1 - i / 2)));
        }
        show(this.#empty, !values.some((some) => some.some((value) => value > 0)));
        this.#updateTable();
    }

    #updateTable() {
        const minutes = [1, 2, 3, 4, 5];
        const rows = minutes.map((minute) => {
            const part = this.#seconds.slice(shownSeconds - 60 * minute, shownSeconds - 60 * (minute - 1));
            return [minute === 1 ? 'the last' : `${minute} ago`, ...this.#series.map((one) => perSecond(meanOf(part, 60, one.of)))];
        });
        if (this.#rows.children.length === 0) {
            this.#rows.append(...rows.map((row) => make('tr', {}, make('th', { scope: 'row' }), ...row.slice(1).map(() => make('td')))));
        }
        for (const [i, row] of rows.entries()) {
            row.forEach((text, at) => setText(this.#rows.children[i].children[at], text));
        }
        const means = this.#series.map((one, i) => `${one.name} ${rows[0][i + 1]}`).join(', ');
        setText(this.#summary, `Means of the last minute, per second: ${means}.`);
    }

    #pointAt(event) {
        const box = this.#paths[0].ownerSVGElement.getBoundingClientRect();
        const at = event ? Math.floor((event.clientX - box.left) / box.width * shownSeconds) : -1;
        const second = this.#seconds[at];
        setAttribute(this.#cursor, 'visibility', second ? 'visible' : 'hidden');
        if (!second) {
            setText(this.#readout, '');
            return;
        }
        setAttribute(this.#cursor, 'x1', String(at + 0.5));
        setAttribute(this.#cursor, 'x2', String(at + 0.5));
        const values = this.#series.map((one) => `${one.name} ${perSecond(one.of(second) || 0)}`).join(', ');
        setText(this.#readout, `${clock(new Date(second.second * 1000))}: ${values}`);
    }
}
