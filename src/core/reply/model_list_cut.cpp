#include "model_list_cut.h"

#include "core/api/model_table.h"
#include "core/json/json_path_list.h"

namespace llm {

namespace {

enum class part : uint8_t { other, list, element, id, name };

constexpr auto path_list()
{
    json_path_list<part, 32> l;
    // An array at the top is a list itself.
    const uint8_t root = l.add({""}, part::list);
    const auto add_element = [&l](uint8_t list) {
        const uint8_t element = l.add({json_elements, list, json_text::pieces}, part::element);
        l.add({"id", element, json_text::pieces}, part::id);
        l.add({"name", element, json_text::pieces}, part::name);
        l.add({"model", element, json_text::pieces}, part::name);
    };
    add_element(root);
    add_element(l.add({"data", root}, part::list));
    add_element(l.add({"models", root}, part::list));
    return l;
}

constexpr auto paths = json_path_table_of<path_list().size>(path_list());

} // namespace

struct model_list_cut::feeding {
    model_list_cut& self;
    const erase_sink& erase;
};

bool model_list_cut::feed(std::string_view piece, const erase_sink& erase)
{
    feeding now{*this, erase};
    const auto take = [](void* owner, const json_event& event) {
        const auto& to = *static_cast<feeding*>(owner);
        to.self.on(event, to.erase);
    };
    const size_t taken = scanner_.feed(piece, paths.paths.data(), {take, &now});
    offset_ += piece.size();
    return taken == piece.size();
}

void model_list_cut::on(const json_event& event, const erase_sink& erase)
{
    using what = json_event::what;
    switch (paths.marks[event.path]) {
    case part::other:
        break;
    case part::list:
        if (event.type == json_type::array) {
            in_list_ = event.is == what::open;
            kept_any_ = false;
            undecided_ = event.value_begin + 1;
        }
        break;
    case part::element:
        if (!in_element_) {
            begin_element(event);
        }
        if (event.is == what::text || event.is == what::value) {
            take_name(event, id_);
        }
        if (event.is == what::close || event.is == what::value) {
            end_element(event.value_end, erase);
        }
        break;
    case part::id:
        take_name(event, id_);
        break;
    case part::name:
        take_name(event, names_);
        break;
    }
}

void model_list_cut::begin_element(const json_event& event)
{
    in_element_ = true;
    is_first_ = event.index == 0;
    comma_ = event.comma;
    begin_ = event.value_begin;
    id_ = names_ = {false, true};
}

// As long as none has stayed, what stands between two elements goes with the one before it.
void model_list_cut::end_element(uint64_t end, const erase_sink& erase)
{
    const bool stays = id_.any ? id_.allows() : names_.allows();
    const uint64_t from = kept_any_ ? comma_ : is_first_ ? begin_ : undecided_;
    const uint64_t to = !stays ? end : kept_any_ ? comma_ : begin_;
    if (from != to) {
        erase(from, to);
    }
    kept_any_ = kept_any_ || stays;
    in_element_ = false;
    undecided_ = end;
}

// Of a scalar that is, or should be, a name. What is no text, or too long, is no name that may stay.
void model_list_cut::take_name(const json_event& event, said& of)
{
    if (event.is == json_event::what::open) {
        of.add(false);
    }
    if (event.is != json_event::what::text && event.is != json_event::what::value) {
        return;
    }
    longer_ = longer_ || event.text.size() > max_name - name_size_;
    if (!longer_) {
        name_size_ =
            static_cast<uint16_t>(name_size_ + event.text.copy(name_ + name_size_, event.text.size()));
    }
    if (event.is == json_event::what::text) {
        return;
    }
    const std::string_view name(name_, name_size_);
    const std::string_view brief = short_model_name(name);
    of.add(event.type == json_type::string && !longer_
           && (allowed_.allows(allowed_.owner, name)
               || (brief != name && allowed_.allows(allowed_.owner, brief))));
    longer_ = false;
    name_size_ = 0;
}

} // namespace llm
