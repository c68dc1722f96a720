// Ollama's own API.

import { text, thoughts, tool, words } from './plan.mjs';
import { sendJson, StreamWriter } from './writer.mjs';

const head = (plan) => ({ model: plan.request.model, created_at: '2026-11-01T00:00:00.123456789Z' });

// Whole numbers of nanoseconds, beside the counts.
const timed = ({ prompt, completion }) => ({
    total_duration: 4200000000, load_duration: 42000000, prompt_eval_count: prompt, prompt_eval_duration: 420000000,
    eval_count: completion, eval_duration: 3700000000,
});

const isChat = (plan) => plan.path === '/api/chat';
const said = (plan, thinking, content, calls) => (isChat(plan)
    ? { message: { role: 'assistant', content, ...(thinking && { thinking }), ...(calls && { tool_calls: calls }) } }
    : { response: content, ...(thinking && { thinking }) });
const calls = [{ function: { name: tool.name, arguments: tool.value } }];

function lastOf(plan, what) {
    const context = isChat(plan) ? {} : { context: Array.from({ length: 5000 }, (_, i) => i) };
    return { ...head(plan), ...what, done: true, done_reason: 'stop', ...context, ...timed(plan.tokens) };
}

async function stream(plan, res) {
    const out = new StreamWriter(res, 'application/x-ndjson');
    // As Go writes JSON.
    const send = (line) => out.write(`${JSON.stringify(line).replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`)}\n`);
    const parts = [
        ...(plan.is('reasons') ? thoughts.map((thought) => said(plan, thought, '')) : []),
        ...(plan.is('tools') && isChat(plan) ? [said(plan, '', '', calls)] : words.map((word) => said(plan, '', word))),
    ];
    for (const part of parts) {
        await send({ ...head(plan), ...part, done: false });
        if (plan.is('breaks')) {
            await send({ error: 'EngineCore died' });
            return out.end();
        }
    }
    await send(lastOf(plan, said(plan, '', '')));
    out.end();
}

// Streams unless it is told not to.
export function generate(plan, res) {
    if (plan.request.stream !== false) {
        return stream(plan, res);
    }
    const tools = plan.is('tools') && isChat(plan);
    return sendJson(res, lastOf(plan, said(plan, plan.is('reasons') ? thoughts.join('') : '', tools ? '' : text, tools && calls)));
}

export function embed(plan, res) {
    const { model, input } = plan.request;
    sendJson(res, {
        model, embeddings: [input].flat().map(() => [0.25, -0.5, 1]), total_duration: 14143917, load_duration: 1019500,
        prompt_eval_count: plan.tokens.prompt,
    });
}
