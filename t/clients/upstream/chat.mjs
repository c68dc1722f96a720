// OpenAI's chat and completions as OpenAI has them (model `openai`) and as vLLM has them; embeddings.

import { text, thoughts, tool, words } from './plan.mjs';
import { sendJson, StreamWriter } from './writer.mjs';

function usageOf({ prompt, cached, cacheWrite, completion, reasoning }, openai) {
    if (openai) {
        return {
            prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion,
            prompt_tokens_details: { cached_tokens: cached, audio_tokens: 0, cache_write_tokens: cacheWrite },
            completion_tokens_details: {
                reasoning_tokens: reasoning, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0,
            },
        };
    }
    return {
        prompt_tokens: prompt, total_tokens: prompt + completion, completion_tokens: completion,
        prompt_tokens_details: { cached_tokens: cached, created_cache_tokens: cacheWrite, multimodal_tokens: { image: 2 } },
        completion_tokens_details: { reasoning_tokens: reasoning },
    };
}

const isChat = (plan) => plan.path === '/v1/chat/completions';
const head = (plan, object) => ({ id: 'cmpl-1', object, created: 1790000000, model: plan.request.model });

function choiceOf(plan) {
    if (!isChat(plan)) {
        return { index: 0, text, logprobs: null, finish_reason: 'stop' };
    }
    const message = { role: 'assistant', content: plan.is('tools') ? null : text };
    if (plan.is('reasons')) {
        message.reasoning_content = thoughts.join('');
    }
    if (plan.is('tools')) {
        message.tool_calls = [{ id: tool.id, type: 'function', function: { name: tool.name, arguments: tool.json } }];
    }
    return { index: 0, message, logprobs: null, finish_reason: plan.is('tools') ? 'tool_calls' : 'stop' };
}

function reply(plan, res) {
    const openai = plan.is('openai');
    sendJson(res, {
        ...head(plan, isChat(plan) ? 'chat.completion' : 'text_completion'), choices: [choiceOf(plan)], usage: usageOf(plan.tokens, openai),
    }, openai ? 2 : 0);
}

// What the chunks with tokens say.
function deltasOf(plan) {
    if (!isChat(plan)) {
        return words.map((word) => ({ text: word }));
    }
    const call = (more) => ({ delta: { tool_calls: [{ index: 0, ...more }] } });
    return [
        ...(plan.is('reasons') ? thoughts.map((thought) => ({ delta: { reasoning_content: thought } })) : []),
        ...(plan.is('tools')
            ? [call({ id: tool.id, type: 'function', function: { name: tool.name, arguments: '' } }),
               ...tool.pieces.map((piece) => call({ function: { arguments: piece } }))]
            : words.map((word) => ({ delta: { content: word } }))),
    ];
}

async function stream(plan, res) {
    const openai = plan.is('openai');
    const { include_usage: final, continuous_usage_stats: continuous } = plan.request.stream_options ?? {};
    const { prompt, completion } = plan.tokens;
    const deltas = deltasOf(plan);
    const out = new StreamWriter(res, 'text/event-stream; charset=utf-8');
    let sent = 0;

    const send = (choices, more) => out.write(`data: ${JSON.stringify({
        ...head(plan, isChat(plan) ? 'chat.completion.chunk' : 'text_completion'), choices, ...more })}\n\n`);
    const soFar = () => {
        if (openai) {
            return final ? { usage: null, obfuscation: 'x9' } : { obfuscation: 'x9' };
        }
        const count = Math.floor(completion * sent / deltas.length);
        return continuous ? { usage: { prompt_tokens: prompt, total_tokens: prompt + count, completion_tokens: count } } : {};
    };
    const choice = (said, finish_reason = null) => send([{ index: 0, ...said, logprobs: null, finish_reason }], soFar());

    if (isChat(plan)) {
        await choice({ delta: { role: 'assistant', content: '' } });
    }
    for (const delta of deltas) {
        sent++;
        await choice(delta);
        if (plan.is('breaks')) {
            await out.write('data: {"error": {"message": "EngineCore died", "type": "InternalServerError",'
                            + ' "param": null, "code": 500}}\n\n');
            await out.write('data: [DONE]\n\n');
            return out.end();
        }
        if (plan.is('never-ends')) {
            return;
        }
    }
    await choice(isChat(plan) ? { delta: {} } : { text: '' }, plan.is('tools') ? 'tool_calls' : 'stop');
    if (final) {
        await send([], { usage: usageOf(plan.tokens, openai) });
    }
    await out.write('data: [DONE]\n\n');
    out.end();
}

export function completions(plan, res) {
    return plan.request.stream ? stream(plan, res) : reply(plan, res);
}

export function embeddings(plan, res) {
    const inputs = [plan.request.input].flat();
    const vector = new Float32Array([0.25, -0.5, 1]);
    const embedding = plan.request.encoding_format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector];
    sendJson(res, {
        object: 'list', data: inputs.map((_, index) => ({ object: 'embedding', index, embedding })), model: plan.request.model,
        usage: { prompt_tokens: plan.tokens.prompt, total_tokens: plan.tokens.prompt },
    });
}
