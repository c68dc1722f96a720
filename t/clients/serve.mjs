// A server on a port of its own.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';

// Starts it, with a certificate where there is one ({ key, cert }). `answer(req, res, body)` answers each request. `seen` holds every request
// that arrived, with a promise of its end.
export async function serve(answer, { certificate } = {}) {
    const seen = [];
    const create = certificate ? (handler) => createSecureServer(certificate, handler) : createServer;
    const server = create(async (req, res) => {
        const chunks = [];
        for await (const chunk of req) {
            chunks.push(chunk);
        }
        const body = Buffer.concat(chunks).toString();
        seen.push({
            method: req.method, url: req.url, headers: req.headers, rawHeaders: req.rawHeaders, body, closed: once(res, 'close'),
        });
        await answer(req, res, body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
        port: server.address().port,
        seen,
        async stop() {
            if (!server.listening) {
                return;
            }
            server.closeAllConnections();
            server.close();
            await once(server, 'close');
        },
    };
}
