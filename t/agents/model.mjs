// A model server with a script, for coding agents: OpenAI's Chat Completions and Responses, Anthropic's Messages, all streamed.
//
// What the user's prompt says decides: with `[tool COMMAND]` in it the model calls the agent's shell once and then answers with what that
// said; with `[hang]` it writes on until the client leaves; else it says `Hello from the model.`

import { once } from 'node:events';

import { serve } from '../clients/serve.mjs';

const usage = { prompt: 1200, completion: 34 };
const chatUsage = { prompt_tokens: usage.prompt, completion_tokens: usage.completion, total_tokens: usage.prompt + usage.completion };

// What stands in a message of whatever API, as one text.
function textOf(value) {
    if (typeof value === 'string') {
        return value;
    }
    if (Array.isArray(value)) {
        return value.map(textOf).join('\n');
    }
    return value && typeof value === 'object' ? textOf(value.text ?? value.content ?? value.output ?? '') : '';
}

const isResult = (item) => item.type === 'function_call_output' || item.type === 'custom_tool_call_output' || item.role === 'tool'
    || (Array.isArray(item.content) && item.content.some((part) => part.type === 'tool_result'));

// What to answer: { text } or { call: { name, input } } or { hang }.
function planOf(body) {
    const items = [body.messages ?? body.input ?? []].flat();
    const asked = items.filter((item) => item.role === 'user').map(textOf).join('\n');
    const result = items.filter(isResult).map(textOf).join('\n');
    const tools = (body.tools ?? []).map((tool) => tool.function ?? tool);
    const shell = tools.find((tool) => /^(bash|shell|shell_command|exec_command|local_shell)$/i.test(tool.name ?? tool.type ?? ''));
    const command = /\[tool ([^\]]+)\]/.exec(asked)?.[1];
    if (asked.includes('[hang]') && shell) {
        return { hang: true };
    }
    if (result) {
        return { text: `The tool said: ${result.trim()}` };
    }
    if (command && shell) {
        return { call: { name: shell.name ?? shell.type, input: inputOf(shell, command) } };
    }
    return { text: 'Hello from the model.' };
}

function inputOf(tool, command) {
    const { properties = {} } = tool.parameters ?? tool.input_schema ?? {};
    if (properties.cmd) {
        return { cmd: command };
    }
    const words = properties.command?.type === 'array' ? ['sh', '-c', command] : command;
    return { command: words, ...(properties.description && { description: 'Runs it' }) };
}

// Each writes the events of its API; `on` goes on with text until the client has left.
const apis = {
    '/v1/chat/completions': async (plan, body, send, on) => {
        const chunk = (choices, more) => send({
            id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1790000000, model: body.model, choices, ...more });
        const delta = (said, finish_reason = null) => chunk([{ index: 0, delta: said, finish_reason }]);
        delta({ role: 'assistant', content: '' });
        if (plan.hang) {
            return on(() => delta({ content: 'on and on ' }));
        }
        if (plan.call) {
            const called = { name: plan.call.name, arguments: JSON.stringify(plan.call.input) };
            delta({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: called }] });
        } else {
            delta({ content: plan.text });
        }
        delta({}, plan.call ? 'tool_calls' : 'stop');
        if (body.stream_options?.include_usage) {
            chunk([], { usage: chatUsage });
        }
        send('[DONE]');
    },
    '/v1/responses': async (plan, body, send, on) => {
        let sequence_number = 0;
        const event = (type, more) => send({ type, sequence_number: sequence_number++, ...more }, type);
        const response = (status, output, tokens) => ({
            id: 'resp_1', object: 'response', created_at: 1790000000, status, model: body.model, output, usage: tokens });
        event('response.created', { response: response('in_progress', [], null) });
        const item = plan.call
            ? { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: plan.call.name, arguments: JSON.stringify(plan.call.input) }
            : { type: 'message', id: 'msg_1', role: 'assistant', content: [{ type: 'output_text', text: plan.text ?? '', annotations: [] }] };
        const begun = { ...item, status: 'in_progress', ...(plan.call ? { arguments: '' } : { content: [] }) };
        event('response.output_item.added', { output_index: 0, item: begun });
        item.status = 'completed';
        const words = (delta) => event('response.output_text.delta', { item_id: 'msg_1', output_index: 0, content_index: 0, delta });
        if (plan.hang) {
            return on(() => words('on and on '));
        }
        if (plan.text) {
            words(plan.text);
        }
        event('response.output_item.done', { output_index: 0, item });
        event('response.completed', { response: response('completed', [item], {
            input_tokens: usage.prompt, input_tokens_details: { cached_tokens: 0 }, output_tokens: usage.completion,
            output_tokens_details: { reasoning_tokens: 0 }, total_tokens: usage.prompt + usage.completion,
        }) });
    },
    '/v1/messages': async (plan, body, send, on) => {
        const event = (type, more) => send({ type, ...more }, type);
        event('message_start', { message: {
            id: 'msg_1', type: 'message', role: 'assistant', model: body.model, content: [], stop_reason: null, stop_sequence: null,
            usage: { input_tokens: usage.prompt, output_tokens: 1 } } });
        const block = plan.call ? { type: 'tool_use', id: 'toolu_1', name: plan.call.name, input: {} } : { type: 'text', text: '' };
        event('content_block_start', { index: 0, content_block: block });
        const delta = (said) => event('content_block_delta', { index: 0, delta: said });
        if (plan.hang) {
            return on(() => delta({ type: 'text_delta', text: 'on and on ' }));
        }
        delta(plan.call ? { type: 'input_json_delta', partial_json: JSON.stringify(plan.call.input) }
            : { type: 'text_delta', text: plan.text });
        event('content_block_stop', { index: 0 });
        event('message_delta', {
            delta: { stop_reason: plan.call ? 'tool_use' : 'end_turn', stop_sequence: null }, usage: { output_tokens: usage.completion } });
        event('message_stop', {});
    },
};

function notStreamed(path, plan, body) {
    if (path === '/v1/messages') {
        return {
            id: 'msg_1', type: 'message', role: 'assistant', model: body.model, content: [{ type: 'text', text: plan.text ?? 'Hello.' }],
            stop_reason: 'end_turn', stop_sequence: null, usage: { input_tokens: usage.prompt, output_tokens: usage.completion } };
    }
    return { id: 'chatcmpl-1', object: 'chat.completion', created: 1790000000, model: body.model,
        choices: [{ index: 0, message: { role: 'assistant', content: plan.text ?? 'Hello.' }, finish_reason: 'stop' }],
        usage: chatUsage };
}

async function answer(req, res, text) {
    const path = req.url.replace(/\?.*/, '');
    const json = (status, body) => res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (path === '/v1/models') {
        return json(200, { object: 'list', data: [{ id: 'qwen3-coder', object: 'model', created: 1790000000, owned_by: 'test' }] });
    }
    if (path === '/v1/messages/count_tokens') {
        return json(200, { input_tokens: usage.prompt });
    }
    if (!apis[path]) {
        return json(404, { error: { message: `There is no ${path}.`, type: 'NotFoundError', param: null, code: 404 } });
    }
    const body = JSON.parse(text);
    const plan = planOf(body);
    if (!body.stream) {
        return json(200, notStreamed(path, plan, body));
    }
    res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    const send = (data, name) => res.write(
        `${name ? `event: ${name}\n` : ''}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`);
    const on = async (more) => {
        const beat = setInterval(more, 100);
        await once(res, 'close');
        clearInterval(beat);
    };
    await apis[path](plan, body, send, on);
    res.end();
}

export const startModel = () => serve(answer);
