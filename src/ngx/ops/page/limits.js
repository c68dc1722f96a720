// What is left of limits.

import { compact, duration, exact } from './format.js';
import { bar, keepChildren, make, setAttribute, setBar, setText } from './dom.js';

const periods = {
    '1s': 'per second', '1m': 'per minute', '1h': 'per hour', '1d': 'per day', w: 'per week', mo: 'per month', total: 'in total',
};

function limitName(limit) {
    const what = limit.limit === 'concurrency' ? 'requests at once' : String(limit.limit);
    const period = limit.period ? periods[limit.period] ?? String(limit.period) : '';
    return period ? `${what} ${period}` : what;
}

function toneOf(left) {
    return left <= 0.1 ? 'bad' : left <= 0.25 ? 'low' : 'good';
}

// `words` says how a reset is told, or is left out.
export function showLimits(list, limits, resetText = null) {
    keepChildren(list, limits, (limit, i) => `${limit.limit} ${limit.period} ${i}`,
                 () => make('li', {}, make('span', { class: 'label' }), bar(), make('span', { class: 'value' })),
                 (item, limit) => {
                     const [label, line, value] = item.children;
                     const left = Math.max(0, limit.remaining ?? 0);
                     const part = limit.maximum > 0 ? left / limit.maximum : 0;
                     setText(label, limitName(limit));
                     setBar(line, part, toneOf(part));
                     const reset = resetText && limit.reset_ms > 0 ? ` · ${resetText(limit.reset_ms)}` : '';
                     setText(value, `${compact(left)} of ${compact(limit.maximum)} left${reset}`);
                     const full = limit.reset_ms > 0 ? `; all of it again in ${duration(limit.reset_ms)}` : '';
                     setAttribute(item, 'title', `${exact(left)} of ${exact(limit.maximum)} left${full}`);
                 });
}
