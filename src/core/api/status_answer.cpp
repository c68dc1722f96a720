#include "status_answer.h"

namespace llm {

namespace {

// As in refusal.cpp: OpenAI's types and codes, and no word that makes a client take an error for a spent
// quota. Clients repeat 408, 409, 429 and all from 500 on; some repeat 413 as well, which never helps.
constexpr refusal_answer answers[] = {
    {400, "", "invalid_request_error", "", "The request cannot be read.", false, 0},
    {401, "", "invalid_request_error", "", "This request needs credentials.", true, 0, true},
    {403, "", "invalid_request_error", "", "This request is not allowed.", false, 0},
    {404, "", "invalid_request_error", "", "There is no such path here.", false, 0},
    {405, "", "invalid_request_error", "", "This method is not allowed here.", false, 0},
    {408, "", "invalid_request_error", "", "The request took too long to come in.", false, 0},
    {413, "", "invalid_request_error", "request_too_large", "The request body is too large.", false, 0, true},
    {414, "", "invalid_request_error", "", "The request's path is too long.", false, 0},
    {415, "", "invalid_request_error", "", "This type of request body is not accepted.", false, 0},
    {429, "", "requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again in 1s.",
     false, 1},
    {500, "", "server_error", "", "The gateway could not handle this request.", false, 0},
    {502, "", "server_error", "", "The model server cannot be reached, or gave no valid answer.", false, 0},
    {503, "", "server_error", "", "The service is not available at the moment.", false, 0},
    {504, "", "server_error", "", "The model server did not answer in time.", false, 0},
};

// What nginx has in place of 400 until it answers.
constexpr refusal_answer own_answers[] = {
    {494, "", "invalid_request_error", "", "The request's headers are too large.", false, 0},
    {495, "", "invalid_request_error", "", "The client's TLS certificate is not accepted.", false, 0},
    {496, "", "invalid_request_error", "", "A TLS certificate of the client is needed.", false, 0},
    {497, "", "invalid_request_error", "", "This port takes HTTPS only.", false, 0},
};

constexpr refusal_answer other_400 = {
    0, "", "invalid_request_error", "", "The request cannot be accepted.", false, 0};
constexpr refusal_answer other_500 = {
    0, "", "server_error", "", "The gateway could not handle this request.", false, 0};

} // namespace

refusal_answer answer_of_status(unsigned status)
{
    if (status < 400 || status > 599) {
        status = 404;
    }
    for (const refusal_answer& a : answers) {
        if (a.status == status) {
            return a;
        }
    }
    for (const refusal_answer& a : own_answers) {
        if (a.status == status) {
            refusal_answer answer = a;
            answer.status = 400;
            return answer;
        }
    }
    refusal_answer answer = status < 500 ? other_400 : other_500;
    answer.status = static_cast<uint16_t>(status);
    return answer;
}

} // namespace llm
