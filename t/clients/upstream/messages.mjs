// Anthropic's Messages.

import { text, thoughts, tool, words } from './plan.mjs';
import { sendJson, StreamWriter } from './writer.mjs';

// The three kinds of input are beside each other here. `iterations` repeats what the sums have.
function usageOf({ prompt, cached, cacheWrite, completion, reasoning }) {
    return {
        input_tokens: prompt - cached - cacheWrite, cache_creation_input_tokens: cacheWrite, cache_read_input_tokens: cached,
        cache_creation: { ephemeral_5m_input_tokens: cacheWrite, ephemeral_1h_input_tokens: 0 }, output_tokens: completion,
        output_tokens_details: { thinking_tokens: reasoning },
    };
}

const iterations = [{ input_tokens: 7, output_tokens: 10 }, { input_tokens: 1, output_tokens: 99 }];

function contentOf(plan) {
    return [
        ...(plan.is('reasons') ? [{ type: 'thinking', thinking: thoughts.join(''), signature: 'c2ln' }] : []),
        plan.is('tools') ? { type: 'tool_use', id: tool.id, name: tool.name, input: tool.value } : { type: 'text', text },
    ];
}

const messageOf = (plan, content, stop_reason, usage) => ({
    id: 'msg_1', type: 'message', role: 'assistant', model: plan.request.model, content, stop_reason, stop_sequence: null, usage,
});

const stopReason = (plan) => (plan.is('tools') ? 'tool_use' : 'end_turn');

const deltas = {
    thinking: [...thoughts.map((thinking) => ({ type: 'thinking_delta', thinking })), { type: 'signature_delta', signature: 'c2ln' }],
    text: words.map((word) => ({ type: 'text_delta', text: word })),
    tool_use: tool.pieces.map((partial_json) => ({ type: 'input_json_delta', partial_json })),
};
const emptied = { thinking: { thinking: '', signature: '' }, text: { text: '' }, tool_use: { input: {} } };

async function stream(plan, res) {
    const usage = usageOf(plan.tokens);
    const out = new StreamWriter(res, 'text/event-stream; charset=utf-8');
    const sendText = (type, data) => out.write(`event: ${type}\ndata: ${data}\n\n`);
    // With spaces before the last brace, as the API does.
    const send = (event) => sendText(event.type, JSON.stringify(event).replace(/}$/, '      }'));

    await send({ type: 'message_start', message: messageOf(plan, [], null, { ...usage, output_tokens: 3 }) });
    for (const [index, block] of contentOf(plan).entries()) {
        await send({ type: 'content_block_start', index, content_block: { ...block, ...emptied[block.type] } });
        await sendText('ping', '{"type": "ping"}');
        for (const delta of deltas[block.type]) {
            await send({ type: 'content_block_delta', index, delta });
            if (plan.is('breaks')) {
                await send({ type: 'error', error: { type: 'overloaded_error', message: 'EngineCore died' } });
                return out.end();
            }
        }
        await send({ type: 'content_block_stop', index });
    }
    await send({ type: 'message_delta', delta: { stop_reason: stopReason(plan), stop_sequence: null }, usage: { ...usage, iterations } });
    await send({ type: 'message_stop' });
    out.end();
}

export function messages(plan, res) {
    return plan.request.stream
        ? stream(plan, res)
        : sendJson(res, messageOf(plan, contentOf(plan), stopReason(plan), usageOf(plan.tokens)));
}
