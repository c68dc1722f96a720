#include "book_export.h"

namespace llm::detail {

void copy_record(const book& from, const book_series& s, series_copy& to)
{
    const book_client& c = from.clients().at(s.client);
    const book_model& m = from.models().at(s.model);
    to.serial = s.serial;
    to.key_len = static_cast<uint8_t>(c.key().copy(to.key_bytes, max_name));
    to.user_len = static_cast<uint8_t>(c.user().copy(to.user_bytes, max_name));
    to.model_len = static_cast<uint8_t>(m.name().copy(to.model_bytes, lease::max_model));
    to.made_ms = s.made_ms;
    to.counts = s.counts;
}

void copy_record(const book&, const book_client& c, client_copy& to)
{
    to.key_len = static_cast<uint8_t>(c.key().copy(to.key_bytes, max_name));
    to.user_len = static_cast<uint8_t>(c.user().copy(to.user_bytes, max_name));
    to.made_ms = c.made_ms;
    to.refusals = c.refusals;
}

void copy_record(const book& from, const book_model& m, model_copy& to)
{
    to.index = from.models().index_of(m);
    to.name_len = static_cast<uint8_t>(m.name().copy(to.name_bytes, lease::max_model));
    to.made_ms = m.made_ms;
    to.duration = m.duration;
    to.first_token = m.first_token;
    to.token = m.token;
}

} // namespace llm::detail
