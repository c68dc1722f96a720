// OpenAI's Responses.

import { text, thoughts, tool, words } from './plan.mjs';
import { sendJson, StreamWriter } from './writer.mjs';

// vLLM has lists within the details.
function usageOf(plan) {
    const { prompt, cached, cacheWrite, completion, reasoning, total } = plan.tokens;
    const more = (name) => (plan.is('openai') ? {} : { [`${name}_tokens_per_turn`]: [7, 7] });
    return {
        input_tokens: prompt, input_tokens_details: { cached_tokens: cached, cache_write_tokens: cacheWrite, ...more('input') },
        output_tokens: completion, output_tokens_details: { reasoning_tokens: reasoning, ...more('output') },
        total_tokens: total,
    };
}

function responseOf(plan, status, output, usage) {
    return {
        id: 'resp_1', object: 'response', created_at: 1790000000, status, error: null, incomplete_details: null, instructions: null,
        max_output_tokens: null, model: plan.request.model, output, parallel_tool_calls: true, previous_response_id: null,
        reasoning: { effort: null, summary: null }, store: true, temperature: 1, text: { format: { type: 'text' } },
        tool_choice: 'auto', tools: plan.request.tools ?? [], top_p: 1, truncation: 'disabled', usage, user: null, metadata: {},
    };
}

const reasoningItem = { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: thoughts.join('') }] };
const callItem = { id: 'fc_1', type: 'function_call', status: 'completed', call_id: tool.id, name: tool.name, arguments: tool.json };
const textPart = { type: 'output_text', text, annotations: [], logprobs: [] };
const messageItem = { id: 'msg_1', type: 'message', status: 'completed', role: 'assistant', content: [textPart] };

const outputOf = (plan) => [...(plan.is('reasons') ? [reasoningItem] : []), plan.is('tools') ? callItem : messageItem];

// The events between the first and the last of an item.
function eventsOf(item, at) {
    const of = { item_id: item.id, output_index: at };
    switch (item.type) {
    case 'reasoning': {
        const part = { ...of, summary_index: 0 };
        return [
            { type: 'response.reasoning_summary_part.added', ...part, part: { type: 'summary_text', text: '' } },
            ...thoughts.map((delta) => ({ type: 'response.reasoning_summary_text.delta', ...part, delta })),
            { type: 'response.reasoning_summary_text.done', ...part, text: thoughts.join('') },
            { type: 'response.reasoning_summary_part.done', ...part, part: item.summary[0] },
        ];
    }
    case 'function_call':
        return [
            ...tool.pieces.map((delta) => ({ type: 'response.function_call_arguments.delta', ...of, delta })),
            { type: 'response.function_call_arguments.done', ...of, name: tool.name, arguments: tool.json },
        ];
    default: {
        const part = { ...of, content_index: 0 };
        return [
            { type: 'response.content_part.added', ...part, part: { ...textPart, text: '' } },
            ...words.map((delta) => ({ type: 'response.output_text.delta', ...part, delta, logprobs: [], obfuscation: 'x9' })),
            { type: 'response.output_text.done', ...part, text, logprobs: [] },
            { type: 'response.content_part.done', ...part, part: textPart },
        ];
    }
    }
}

// What an item that has just begun has not yet.
const emptied = {
    reasoning: { summary: [] },
    function_call: { status: 'in_progress', arguments: '' },
    message: { status: 'in_progress', content: [] },
};

async function stream(plan, res) {
    const out = new StreamWriter(res, 'text/event-stream; charset=utf-8');
    let sequence_number = 0;
    const send = (event) => out.write(
        `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number: sequence_number++ })}\n\n`);

    await send({ type: 'response.created', response: responseOf(plan, 'in_progress', [], null) });
    await send({ type: 'response.in_progress', response: responseOf(plan, 'in_progress', [], null) });
    for (const [at, item] of outputOf(plan).entries()) {
        await send({ type: 'response.output_item.added', output_index: at, item: { ...item, ...emptied[item.type] } });
        for (const event of eventsOf(item, at)) {
            await send(event);
            if (plan.is('breaks') && event.delta) {
                // As OpenAI sends it, and as it documents it.
                const error = { code: 'server_error', message: 'EngineCore died', param: null };
                await send({ type: 'error', ...(plan.is('openai') ? { error: { type: 'server_error', ...error } } : error) });
                return out.end();
            }
        }
        await send({ type: 'response.output_item.done', output_index: at, item });
    }
    await send({ type: 'response.completed', response: responseOf(plan, 'completed', outputOf(plan), usageOf(plan)) });
    out.end();
}

export function responses(plan, res) {
    return plan.request.stream ? stream(plan, res) : sendJson(res, responseOf(plan, 'completed', outputOf(plan), usageOf(plan)), 2);
}
