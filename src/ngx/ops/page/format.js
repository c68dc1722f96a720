// Numbers as people read them. All of these take null and undefined too: what is not known is a dash.

export const unknown = '–';

const known = (n) => typeof n === 'number' && Number.isFinite(n);

// 1,234,567
export function exact(n) {
    return known(n) ? n.toLocaleString('en') : unknown;
}

// 999, 1.2k, 34.5k, 678k, 1.2M: never more than four digits.
export function compact(n) {
    if (!known(n)) {
        return unknown;
    }
    const size = Math.abs(n);
    if (size < 999.5) {
        return String(Math.round(n));
    }
    for (const [unit, letter] of [[1e3, 'k'], [1e6, 'M'], [1e9, 'G'], [1e12, 'T']]) {
        const value = n / unit;
        if (Math.abs(value) < 99.95) {
            return `${value.toFixed(1)}${letter}`;
        }
        if (Math.abs(value) < 999.5 || letter === 'T') {
            return `${Math.round(value)}${letter}`;
        }
    }
    return unknown;
}

// Of something that happens n times a second.
export function perSecond(n) {
    if (!known(n)) {
        return unknown;
    }
    return n > 0 && n < 9.95 ? n.toFixed(1) : compact(n);
}

// 420 ms, 1.42 s, 42.1 s, 3 min 12 s, 5 h 3 min, 2 d 4 h
export function duration(ms) {
    if (!known(ms)) {
        return unknown;
    }
    if (ms < 999.5) {
        return `${ms > 0 && ms < 9.95 ? ms.toFixed(1) : Math.round(ms)} ms`;
    }
    const s = ms / 1000;
    if (s < 59.95) {
        return `${s.toFixed(s < 9.995 ? 2 : 1)} s`;
    }
    return longTime(Math.round(s));
}

// Of something that goes on: whole seconds, so that it is calm.
export function age(ms) {
    if (!known(ms)) {
        return unknown;
    }
    return ms < 60000 ? `${Math.max(0, Math.floor(ms / 1000))} s` : longTime(Math.floor(ms / 1000));
}

function longTime(s) {
    const pair = (big, unit, small, smaller) => (small > 0 ? `${big} ${unit} ${small} ${smaller}` : `${big} ${unit}`);
    if (s < 3600) {
        return pair(Math.floor(s / 60), 'min', s % 60, 's');
    }
    const minutes = Math.floor(s / 60);
    if (minutes < 1440) {
        return pair(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
    }
    return pair(Math.floor(minutes / 1440), 'd', Math.floor(minutes / 60) % 24, 'h');
}

export function bytes(n) {
    if (!known(n)) {
        return unknown;
    }
    let value = n;
    for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
        if (value < 1023.5 || unit === 'GiB') {
            return `${value < 99.5 && unit !== 'B' ? value.toFixed(1) : Math.round(value)} ${unit}`;
        }
        value /= 1024;
    }
    return unknown;
}

// A part of 1. What is not nothing is not shown as nothing.
export function percent(part) {
    if (!known(part)) {
        return unknown;
    }
    const value = part * 100;
    return value > 0 && value < 9.95 ? `${value < 0.1 ? '<0.1' : value.toFixed(1)} %` : `${Math.round(value)} %`;
}

export function clock(date) {
    return date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
}

// rate_limit -> rate limit
export function words(name) {
    return String(name).replaceAll('_', ' ');
}
