// A file of conf-examples/recipes as it is, but for ports and paths, in an nginx.conf like Debian's.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const examples = fileURLToPath(new URL('../../conf-examples/', import.meta.url));

// What startGateway() needs as `configure`. `listen` is the line with the gateway's port. `changes` are texts of the file and what to write
// instead, or a function of the upstream's port that gives them: each has to be there. `files` are those that the recipe includes, by their
// names in /etc/nginx.
export function recipe(name, { listen = 'listen 8080;', changes = {}, files = {} } = {}) {
    return (dir, port, upstreamPort) => {
        copyFileSync(join(examples, 'llm_proxy.conf'), join(dir, 'llm_proxy.conf'));
        for (const folder of ['llm', 'state']) {
            mkdirSync(join(dir, folder), { recursive: true });
        }
        for (const [file, text] of Object.entries(files)) {
            writeFileSync(join(dir, file), text);
        }
        const all = {
            [listen]: listen.replace(/\d+/, `127.0.0.1:${port}`),
            '/etc/nginx/llm/keys.json': `${dir}/keys.json`,
            '/var/lib/nginx/llm/': `${dir}/state/`,
            '/var/log/nginx/llm.log': `${dir}/access.log`,
            ...(typeof changes === 'function' ? changes(upstreamPort)
                : { 'server 127.0.0.1:8000;': `server 127.0.0.1:${upstreamPort};`, ...changes }),
        };
        let text = readFileSync(join(examples, 'recipes', `${name}.conf`), 'utf8');
        for (const [from, to] of Object.entries(all)) {
            if (!text.includes(from)) {
                throw new Error(`${name}.conf has no ${from}`);
            }
            text = text.replaceAll(from, to);
        }
        writeFileSync(join(dir, 'recipe.conf'), text);
        return `
load_module ${process.env.LLM_MODULE};
${process.getuid() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log notice;
events { worker_connections 768; }
http {
    ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((part) => `${part}_temp_path ${dir}/${part};`).join(' ')}
    sendfile on;
    tcp_nopush on;
    gzip on;
    access_log off;
    include ${dir}/recipe.conf;
}
`;
    };
}
