#include "http_client.h"

#include <curl/curl.h>
#include <memory>
#include <openssl/crypto.h>

namespace llm::ctl {

namespace {

constexpr size_t max_body = size_t{64} << 20;
constexpr long connect_seconds = 5;
constexpr long whole_seconds = 40; // reload-keys takes up to 30

size_t take(char* data, size_t, size_t size, void* to)
{
    auto& body = *static_cast<std::string*>(to);
    if (body.size() + size > max_body) {
        return 0;
    }
    body.append(data, size);
    return size;
}

} // namespace

http_answer send_http(const http_request& request)
{
    http_answer answer;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
    if (!curl) {
        answer.error = "libcurl cannot be started";
        return answer;
    }
    char why[CURL_ERROR_SIZE] = "";
    curl_slist* headers = nullptr;
    if (request.key) {
        std::string header = "Authorization: Bearer " + *request.key;
        headers = curl_slist_append(nullptr, header.c_str());
        OPENSSL_cleanse(header.data(), header.size());
    }
    curl_easy_setopt(curl.get(), CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, request.method);
    curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "llmctl");
    curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, connect_seconds);
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, whole_seconds);
    curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
    if (!request.unix_socket.empty()) {
        curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
    }
    const CURLcode code = curl_easy_perform(curl.get());
    if (code == CURLE_OK) {
        curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
    } else {
        answer.error = why[0] ? why : curl_easy_strerror(code);
    }
    curl_slist_free_all(headers);
    return answer;
}

} // namespace llm::ctl
