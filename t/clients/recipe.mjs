// A file of conf-examples/recipes as it is, but for ports and paths, in an nginx.conf like Debian's.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { secrets, startGateway } from './gateway.mjs';

const examples = fileURLToPath(new URL('../../conf-examples/', import.meta.url));
const llmctl = [join(dirname(process.env.LLM_MODULE), 'llmctl'), fileURLToPath(new URL('../../build/llmctl', import.meta.url))].find(existsSync);

// What startGateway() needs as `configure`. `listen` is the line with the gateway's port, which is to have TLS where there is a `certificate`
// (of certify()). `changes` are texts of the file and what to write
// instead, or a function of the upstream's port that gives them: each has to be there. `files` are those that the recipe includes, by their
// names in /etc/nginx.
export function recipe(name, { listen = 'listen 8080;', certificate, changes = {}, files = {} } = {}) {
    return (dir, port, upstreamPort) => {
        copyFileSync(join(examples, 'llm_proxy.conf'), join(dir, 'llm_proxy.conf'));
        for (const folder of ['llm', 'state']) {
            mkdirSync(join(dir, folder), { recursive: true });
        }
        for (const [file, text] of Object.entries(files)) {
            writeFileSync(join(dir, file), text);
        }
        const all = {
            [listen]: listen.replace(/\d+/, `127.0.0.1:${port}`)
                .replace(';', certificate ? ` ssl; ssl_certificate ${certificate.certFile}; ssl_certificate_key ${certificate.keyFile};` : ';'),
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

// The gateway while `use` has it.
export async function withGateway({ keys = [], ...options }, use) {
    const gateway = await startGateway(keys, options);
    try {
        return await use(gateway);
    } finally {
        await gateway.stop();
    }
}

// A certificate that is its own authority, for these names.
export function certify(dir, name, names) {
    const [key, cert] = ['key', 'pem'].map((end) => join(dir, `${name}.${end}`));
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
        '-addext', `subjectAltName=${names.map((one) => `DNS:${one}`).join(',')},IP:127.0.0.1`, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    return { key: readFileSync(key), cert: readFileSync(cert), keyFile: key, certFile: cert };
}

// Makes one more key by llmctl, which looks at the gateway's configuration, and types the line that it prints to try it, with a key that is
// in force already. Resolves to the status of the answer.
export async function tryFirstKey({ dir }, env = {}) {
    const run = promisify(execFile);
    const nginx = join(dir, 'nginx.sh');
    writeFileSync(nginx, `#!/bin/sh\n${process.env.LLM_PRELOAD ? `export LD_PRELOAD='${process.env.LLM_PRELOAD}' ASAN_OPTIONS=detect_leaks=0\n` : ''}`
        + `exec ${process.env.LLM_NGINX || 'nginx'} -p ${dir}/ -e ${dir}/check.log -c ${dir}/nginx.conf "$@"\n`, { mode: 0o755 });
    const { stderr } = await run(llmctl, ['key', 'add', 'visitor', '--file', join(dir, 'keys.json')], {
        env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LLM_NGINX: nginx } });
    const [line] = stderr.match(/^curl .*$/m) ?? assert.fail(stderr);
    const { stdout } = await run('sh', ['-c', `${line} -sS -o /dev/null -w '%{http_code}'`], { env: { ...process.env, KEY: secrets.good, ...env } });
    return Number(stdout);
}
