// Gemini's own API. The model is in the path. Beside what planOf() lists, a model `searches` with a tool, `tells-late` what it took,
// ends lines by `lf`, and `counts` where it embeds.

import { text, thoughts, tool, words } from './plan.mjs';
import { sendJson, StreamWriter } from './writer.mjs';

// What a request's target says: {path, model}. `path` stands for the method and the form of its stream, without the model.
// Undefined for targets of other APIs.
export function geminiTarget(target) {
    const { pathname, searchParams } = new URL(target, 'http://upstream');
    const [, kind, name, method] = /^\/v1(?:beta)?\/(models|tunedModels)\/([^/]+):(\w+)$/.exec(pathname) ?? [];
    if (!method) {
        return undefined;
    }
    const events = method === 'streamGenerateContent' && searchParams.get('alt') === 'sse';
    const model = decodeURIComponent(name);
    return { path: `:${method}${events ? '?alt=sse' : ''}`, model: kind === 'models' ? model : `${kind}/${model}` };
}

// What results of tools take of the prompt. It is beside the prompt's own count, as thoughts are beside the candidates'.
const toolTokens = 1234;

const details = (tokenCount) => [{ modality: 'TEXT', tokenCount }];

// When `share` of the answer is there. Thoughts are told whether they are shown or not. A count of 0 is left out.
function usageOf(plan, share = 1) {
    const { prompt, cached, completion, reasoning } = plan.tokens;
    const toolUse = plan.is('searches') ? toolTokens : 0;
    const candidates = Math.floor((completion - reasoning) * share);
    return {
        promptTokenCount: prompt - toolUse,
        ...(candidates && { candidatesTokenCount: candidates, candidatesTokensDetails: details(candidates) }),
        totalTokenCount: prompt + candidates + reasoning,
        cachedContentTokenCount: cached,
        promptTokensDetails: details(prompt - toolUse),
        cacheTokensDetails: details(cached),
        ...(toolUse && { toolUsePromptTokenCount: toolUse, toolUsePromptTokensDetails: details(toolUse) }),
        thoughtsTokenCount: reasoning,
    };
}

const responseOf = (plan, parts, usageMetadata, finishReason) => ({
    candidates: [{ content: { ...(parts.length > 0 && { parts }), role: 'model' }, ...(finishReason && { finishReason }), index: 0 }],
    usageMetadata, modelVersion: plan.request.model, responseId: 'cmVzcG9uc2U',
});

const call = { functionCall: { name: tool.name, args: tool.value }, thoughtSignature: 'c2ln' };
// `pieces` of reasoning.
const thoughtParts = (plan, pieces) => (plan.is('reasons') ? pieces.map((piece) => ({ text: piece, thought: true })) : []);

const failure = { error: { code: 503, message: 'EngineCore died', status: 'UNAVAILABLE' } };

// The two forms of a stream: events, or one array that comes element by element.
function writerOf(plan, res) {
    const events = plan.path.endsWith('?alt=sse');
    const out = new StreamWriter(res, events ? 'text/event-stream' : 'application/json; charset=UTF-8');
    const lineEnd = plan.is('lf') ? '\n' : '\r\n';
    let begun = false;
    return {
        send(response) {
            const before = begun ? ',\r\n' : '[';
            begun = true;
            return out.write(events
                ? `data: ${JSON.stringify(response)}${lineEnd}${lineEnd}`
                : `${before}${JSON.stringify(response, null, 2)}\n`);
        },
        async end() {
            await (events ? undefined : out.write(begun ? ']' : '[]'));
            out.end();
        },
    };
}

async function stream(plan, res) {
    const { send, end } = writerOf(plan, res);
    // Vertex tells the counts with the last response only.
    const usageAt = (share) => (plan.is('tells-late') ? { trafficType: 'ON_DEMAND' } : usageOf(plan, share));
    const parts = [...thoughtParts(plan, thoughts), ...(plan.is('tools') ? [call] : words.map((word) => ({ text: word })))];
    for (const [index, part] of parts.entries()) {
        await send(responseOf(plan, [part], usageAt(index / parts.length)));
        if (plan.is('breaks')) {
            await send(failure);
            return end();
        }
        if (plan.is('never-ends')) {
            return undefined;
        }
    }
    await send(responseOf(plan, [], usageOf(plan), 'STOP'));
    return end();
}

function generate(plan, res) {
    const parts = [...thoughtParts(plan, [thoughts.join('')]), plan.is('tools') ? call : { text }];
    sendJson(res, responseOf(plan, parts, usageOf(plan), 'STOP'), 2);
}

// Newer models say what it took, older ones do not.
const embedUsage = (plan) => (plan.is('counts')
    ? { usageMetadata: { promptTokenCount: plan.tokens.prompt, promptTokenDetails: details(plan.tokens.prompt) } }
    : {});
const values = [0.25, -0.5, 1];

export const handlers = {
    ':generateContent': generate,
    ':streamGenerateContent': stream,
    ':streamGenerateContent?alt=sse': stream,
    ':embedContent': (plan, res) => sendJson(res, { embedding: { values }, ...embedUsage(plan) }, 2),
    ':batchEmbedContents': (plan, res) => sendJson(
        res, { embeddings: plan.request.requests.map(() => ({ values })), ...embedUsage(plan) }, 2),
    ':countTokens': (plan, res) => sendJson(res, { totalTokens: 31, promptTokensDetails: details(31) }, 2),
};

// See `running` in upstream.mjs.
const goesOn = (n) => JSON.stringify({
    candidates: [{ content: { parts: [{ text: 'on and' }], role: 'model' }, index: 0 }],
    usageMetadata: { promptTokenCount: 9, candidatesTokenCount: n, totalTokenCount: 9 + n },
});
export const running = {
    ':streamGenerateContent': (n) => `${n === 100 ? '[' : ',\r\n'}${goesOn(n)}\n`,
    ':streamGenerateContent?alt=sse': (n) => `data: ${goesOn(n)}\r\n\r\n`,
};
