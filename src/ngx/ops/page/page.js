// The status page: asks for what runs each second and for the keys every three, and shows it.

import { clock } from './format.js';
import { byId, make, setAttribute, setText, show } from './dom.js';
import { Feed } from './feed.js';
import { showOverview } from './overview.js';
import { showRunning } from './running.js';
import { showModels } from './models.js';
import { forgetPage, keysQuery, listenToKeys, showKeys } from './keys.js';

let zoneName = null;
let paused = false;
let lastFigures = null;
const lostFeeds = new Map();

const live = new Feed({ query: () => '?view=live', every: 1000, onData: showLive, onLost: (error) => lost('live', error) });
const keys = new Feed({ query: () => `?${keysQuery()}`, every: 3000, onData: showKeysOf, onLost: (error) => lost('keys', error) });

function zoneOf(data) {
    const zones = data.zones ?? [];
    return zones.find((zone) => zone.name === zoneName) ?? zones[0];
}

function showZones(zones) {
    const select = byId('zone');
    const names = zones.map((zone) => zone.name);
    if (names.join('\n') !== [...select.options].map((option) => option.value).join('\n')) {
        select.replaceChildren(...names.map((name) => make('option', { value: name }, name)));
        zoneName = names.includes(zoneName) ? zoneName : names[0] ?? null;
        select.value = zoneName ?? '';
    }
    show(byId('zone-pick'), names.length > 1);
}

function showLive(data) {
    found('live');
    setText(byId('version'), data.version ?? '');
    showZones(data.zones ?? []);
    lastFigures = clock(new Date());
    setText(byId('clock'), lastFigures);
    const zone = zoneOf(data);
    if (!zone) {
        return;
    }
    showOverview(zone, data.now_ms ?? Date.now());
    showRunning(zone);
    showModels(zone);
}

function showKeysOf(data) {
    found('keys');
    const zone = zoneOf(data);
    if (zone && showKeys(zone)) {
        keys.ask();
    }
}

function found(feed) {
    lostFeeds.delete(feed);
    showState();
}

function lost(feed, error) {
    lostFeeds.set(feed, error);
    showState();
}

function showState() {
    const isLost = lostFeeds.size > 0;
    const [first] = lostFeeds.values();
    const state = paused ? 'paused' : isLost ? 'lost' : 'live';
    setAttribute(document.body, 'data-state', state);
    setText(byId('state'), { paused: 'Paused', lost: 'No connection', live: 'Live' }[state]);
    if (isLost) {
        const why = first.status ? `The gateway refuses to tell: ${first.message}` : 'The gateway cannot be reached.';
        setText(byId('lost'), `${why} ${lastFigures ? `These figures are of ${lastFigures}. ` : ''}Trying again.`);
    }
    show(byId('lost'), isLost && !paused);
}

byId('pause').addEventListener('click', () => {
    paused = !paused;
    setAttribute(byId('pause'), 'aria-pressed', String(paused));
    for (const feed of [live, keys]) {
        if (paused) {
            feed.stop();
        } else {
            feed.start();
        }
    }
    showState();
});
byId('zone').addEventListener('change', () => {
    zoneName = byId('zone').value;
    forgetPage();
    live.ask();
    keys.ask();
});
listenToKeys(() => keys.ask());
live.start();
keys.start();
