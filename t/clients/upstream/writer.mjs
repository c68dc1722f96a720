// Writes replies.

import { setImmediate as nextTurn } from 'node:timers/promises';

export function sendJson(res, body, indent = 0) {
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify(body, null, indent));
}

// A stream, each event of which is written in two pieces. They part at another place each time, be it within a character.
export class StreamWriter {
    #cut = 0;

    constructor(res, contentType) {
        this.res = res;
        res.setHeader('content-type', contentType);
    }

    async write(event) {
        const bytes = Buffer.from(event);
        this.#cut = (this.#cut * 31 + 17) % 8191;
        const at = this.#cut % bytes.length;
        if (at > 0) {
            this.res.write(bytes.subarray(0, at));
            await nextTurn();
        }
        this.res.write(bytes.subarray(at));
        await nextTurn();
    }

    end() {
        this.res.end();
    }
}
