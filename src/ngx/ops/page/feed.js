// Asks the gateway again and again, one request at a time, while the page can be seen.

// Whole: a path that begins with two slashes, by itself, is another host.
const here = `${location.origin}${location.pathname}`;
const patience = 10000;
const slowest = 5000;

export class Feed {
    #options;
    #timer = 0;
    #request = null;
    #failures = 0;
    #stopped = true;

    // query()     what to ask for, of the address that the page has
    // headers()   what to send beside Accept
    // every       milliseconds from one question to the next
    // onData(d)   what was answered
    // onLost(e)   there is no answer: {message, status}
    constructor(options) {
        this.#options = options;
        document.addEventListener('visibilitychange', () => {
            if (document.hidden) {
                this.#rest();
            } else if (!this.#stopped) {
                this.ask();
            }
        });
    }

    start() {
        this.#stopped = false;
        this.ask();
    }

    stop() {
        this.#stopped = true;
        this.#rest();
    }

    // Now, in place of whatever is under way. If it is stopped, this once.
    ask() {
        this.#rest();
        if (!document.hidden) {
            this.#ask();
        }
    }

    #rest() {
        clearTimeout(this.#timer);
        this.#request?.abort();
        this.#request = null;
    }

    async #ask() {
        const began = performance.now();
        const request = new AbortController();
        this.#request = request;
        const limit = setTimeout(() => request.abort(), patience);
        let data, error;
        try {
            data = await this.#answer(request.signal);
        } catch (e) {
            error = e;
        }
        clearTimeout(limit);
        // Another question has taken the place of this one.
        if (this.#request !== request) {
            return;
        }
        this.#request = null;
        this.#failures = error ? this.#failures + 1 : 0;
        // Before onData: what is wrong there must not end it all.
        const wait = error ? Math.min(slowest, this.#options.every * this.#failures) : this.#options.every;
        if (!this.#stopped) {
            this.#timer = setTimeout(() => this.#ask(), Math.max(200, wait - (performance.now() - began)));
        }
        if (error) {
            this.#options.onLost(error);
        } else {
            this.#options.onData(data);
        }
    }

    async #answer(signal) {
        const response = await fetch(`${here}${this.#options.query()}`, {
            signal, cache: 'no-store', headers: { Accept: 'application/json', ...this.#options.headers?.() },
        });
        if (!response.ok) {
            const error = new Error(await messageOf(response));
            error.status = response.status;
            throw error;
        }
        return response.json();
    }
}

// What the answer itself says, if it does.
async function messageOf(response) {
    try {
        const { error } = await response.json();
        const message = typeof error === 'string' ? error : error?.message;
        if (typeof message === 'string') {
            return message;
        }
    } catch {
        // It is no JSON.
    }
    return `The answer was ${response.status}.`;
}
