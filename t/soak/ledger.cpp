#include "ledger.h"

#include <algorithm>
#include <string_view>

namespace soak {

namespace {

std::size_t borders_in(std::string_view text, std::string_view border)
{
    std::size_t n = 0;
    for (std::size_t at = text.find(border); at != text.npos; at = text.find(border, at + border.size())) {
        n++;
    }
    return n;
}

} // namespace

void entry::note_received(const std::string& body, bool is_whole)
{
    if (!reply) {
        return;
    }
    altered = is_whole ? body != reply->seen : !reply->seen.starts_with(body);
    if (!reply->border.empty()) {
        got = std::min(borders_in(body, reply->border), reply->pieces.size());
    } else if (is_whole) {
        got = 1;
    }
}

void entry::let_go()
{
    if (--users != 0 || (!reply && tells)) {
        return;
    }
    part = charge_of_part(reply.get(), got, begun, asked);
    tells = reply != nullptr;
    if (reply) {
        whole = charge_of_whole(*reply, asked);
        ends_badly = reply->ends_badly;
    }
    reply.reset();
}

} // namespace soak
