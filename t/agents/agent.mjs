// Coding agents as a person sets them up for the gateway. Each is run without a terminal, has a home of its own, and for each run a folder.

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const bin = process.env.LLM_AGENTS;
export const model = 'qwen3-coder';

// `spent` is the status at which it gives up when its quota is, `command` runs it with a prompt, `settings` are files of its home, `env` its variables: what docs/recipes.md tells people to write.
export const agents = {
    'Claude Code': {
        path: '/v1/messages',
        spent: '429',
        command: (prompt) => ['claude', '-p', prompt, '--allowedTools', 'Bash'],
        settings: () => ({}),
        env: ({ root, key }) => ({
            ANTHROPIC_BASE_URL: root, ANTHROPIC_AUTH_TOKEN: key, ANTHROPIC_MODEL: model, ANTHROPIC_SMALL_FAST_MODEL: model,
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1',
        }),
    },
    Codex: {
        path: '/v1/responses',
        spent: '429',
        command: (prompt) => ['codex', 'exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', prompt],
        settings: ({ root }) => ({ '.codex/config.toml': `
model = "${model}"
model_provider = "gateway"

[model_providers.gateway]
name = "gateway"
base_url = "${root}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
` }),
        env: ({ key }) => ({ GATEWAY_KEY: key }),
    },
    opencode: {
        path: '/v1/chat/completions',
        spent: '402',
        command: (prompt) => ['opencode', 'run', '--auto', prompt],
        settings: ({ root }) => ({ '.config/opencode/opencode.json': JSON.stringify({
            $schema: 'https://opencode.ai/config.json',
            provider: { gateway: {
                npm: '@ai-sdk/openai-compatible', name: 'gateway', options: { baseURL: `${root}/v1`, apiKey: '{env:GATEWAY_KEY}' },
                models: { [model]: { name: model, limit: { context: 131072, output: 8192 } } },
            } },
            model: `gateway/${model}`, small_model: `gateway/${model}`, autoupdate: false, share: 'disabled',
        }) }),
        env: ({ key }) => ({ GATEWAY_KEY: key, OPENCODE_DISABLE_MODELS_FETCH: '1', OPENCODE_DISABLE_LSP_DOWNLOAD: '1' }),
    },
};

const homes = new Map();

async function homeOf(name, gateway) {
    if (!homes.has(name)) {
        const home = await mkdtemp(join(tmpdir(), 'nginx-llm-agent-'));
        homes.set(name, home);
        for (const [file, text] of Object.entries(agents[name].settings(gateway))) {
            await mkdir(join(home, file, '..'), { recursive: true });
            await writeFile(join(home, file), text);
        }
    }
    return homes.get(name);
}

const remove = (dir) => rm(dir, { recursive: true, force: true, maxRetries: 3 });

export const removeHomes = () => Promise.all([...homes.values()].map(remove));

// Starts one. `done` resolves to { code, signal, output } when it has ended, `file` reads what it has written.
export async function run(name, prompt, gateway) {
    const agent = agents[name];
    const home = await homeOf(name, gateway);
    const work = await mkdtemp(join(tmpdir(), 'nginx-llm-agent-'));
    const [program, ...args] = agent.command(prompt);
    const child = spawn(join(bin, program), args, {
        cwd: work, stdio: ['ignore', 'pipe', 'pipe'], detached: true,
        env: { PATH: process.env.PATH, HOME: home, TERM: 'dumb', ...agent.env(gateway) },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (data) => { output += data; });
    }
    const done = new Promise((resolve) => { child.on('close', (code, signal) => resolve({ code, signal, output })); });
    const kill = (signal) => {
        try {
            process.kill(-child.pid, signal);
        } catch {
            // It has ended.
        }
    };
    return {
        done,
        // As Ctrl-C in a terminal: what it has started gets it too. One that goes on is closed with its terminal.
        interrupt() {
            kill('SIGINT');
            setTimeout(kill, 5000, 'SIGKILL').unref();
        },
        file: (path) => readFile(join(work, path), 'utf8'),
        async remove() {
            kill('SIGKILL');
            await remove(work);
        },
    };
}
