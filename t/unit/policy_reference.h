// What a policy is to make of a JSON object, by a parser and on the tree: the reference for policy_edit.
#pragma once

#include "core/request/policy_text.h"

#include <jansson.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <string>
#include <vector>

struct reference_rule {
    llm::policy_action action;
    unsigned list;
    std::string field;
    std::string value;
};

// Rules in the order of their precedence, less `cap max_tokens`: for which boundsto_cap() has others.
class policy_reference {
public:
    // The names that APIs have for the most tokens of a completion.
    static constexpr const char* bounds[] = {"max_tokens",
                                             "max_completion_tokens",
                                             "max_output_tokens",
                                             "n_predict",
                                             "max_new_tokens",
                                             "options.num_predict",
                                             "parameters.max_new_tokens",
                                             "parameters.max_tokens",
                                             "parameters.sampling_params.max_new_tokens",
                                             "sampling_params.max_new_tokens",
                                             "sampling_params.max_tokens",
                                             "generationConfig.maxOutputTokens",
                                             "generationConfig.max_output_tokens",
                                             "generation_config.maxOutputTokens",
                                             "generation_config.max_output_tokens"};
    static bool is_bound(const std::string& field)
    {
        return std::find(std::begin(bounds), std::end(bounds), field) != std::end(bounds);
    }

    policy_reference(std::vector<reference_rule> rules, double bound, std::vector<std::string> own_bounds,
                     std::vector<std::string> to_give)
        : rules_(std::move(rules)), bound_(bound), own_(std::move(own_bounds)), give_(std::move(to_give))
    {
    }

    // False where it is refused. `root` has no member twice.
    bool apply(json_t* root)
    {
        refused_ = false;
        allow(root);
        for (const reference_rule& rule : rules_)
            if (rule.action == llm::policy_action::drop)
                drop(root, rule.field);
        for (const reference_rule& rule : rules_)
            if (rule.action == llm::policy_action::set)
                put(root, rule, true);
        for (const reference_rule& rule : rules_)
            if (rule.action == llm::policy_action::set_default)
                put_default(root, rule);
        if (bound_ > 0)
            bound(root);
        for (const reference_rule& rule : rules_)
            if (rule.action == llm::policy_action::cap)
                cap(root, rule.field, json_number(rule.value), is_bound(rule.field));
        return !refused_;
    }

private:
    static double json_number(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

    // The object that holds the field, and its last name; nullptr where there is none.
    json_t* holder(json_t* root, const std::string& field, std::string& name, bool make, bool strict)
    {
        size_t from = 0;
        for (;;) {
            const size_t dot = field.find('.', from);
            name = field.substr(from, dot - from);
            if (dot == std::string::npos)
                return root;
            json_t* next = json_object_get(root, name.c_str());
            if ((!next || json_is_null(next)) && make) {
                next = json_object();
                json_object_set_new(root, name.c_str(), next);
            }
            if (next && !json_is_null(next) && !json_is_object(next) && strict)
                refused_ = true;
            if (!next || !json_is_object(next))
                return nullptr;
            root = next;
            from = dot + 1;
        }
    }
    void allow(json_t* root)
    {
        for (unsigned list = 0; list < 8; ++list) {
            std::vector<std::string> named = {"model", "stream"};
            for (const reference_rule& rule : rules_)
                if (rule.action == llm::policy_action::allow && rule.list == list)
                    named.push_back(rule.field);
            if (named.size() == 2)
                continue;
            const char* key = nullptr;
            json_t* value = nullptr;
            void* next = nullptr;
            json_object_foreach_safe(root, next, key, value) if (std::find(named.begin(), named.end(), key)
                                                                 == named.end()) json_object_del(root, key);
        }
    }
    void drop(json_t* root, const std::string& field)
    {
        std::string name;
        if (json_t* in = holder(root, field, name, false, false))
            json_object_del(in, name.c_str());
    }
    void put(json_t* root, const reference_rule& rule, bool replaces)
    {
        std::string name;
        json_t* in = holder(root, rule.field, name, true, true);
        json_t* was = in ? json_object_get(in, name.c_str()) : nullptr;
        if (in && (replaces || !was || json_is_null(was)))
            json_object_set_new(in, name.c_str(), json_loads(rule.value.c_str(), JSON_DECODE_ANY, nullptr));
    }
    // A bound is put where the API has it, and has no other one in the request.
    void put_default(json_t* root, const reference_rule& rule)
    {
        const bool is_own = std::find(own_.begin(), own_.end(), rule.field) != own_.end();
        const bool is_of_root = rule.field.find('.') == std::string::npos;
        if (!is_bound(rule.field))
            return put(root, rule, false);
        if (is_own && !(is_of_root && std::any_of(bounds, bounds + 4, [&](const std::string& other) {
                            json_t* was = json_object_get(root, other.c_str());
                            return std::find(own_.begin(), own_.end(), other) != own_.end() && was
                                   && !json_is_null(was);
                        })))
            put(root, rule, false);
    }
    // True if a number is there.
    bool cap(json_t* root, const std::string& field, double most, bool is_bound, bool own = true)
    {
        std::string name;
        json_t* in = holder(root, field, name, false, own);
        json_t* value = in ? json_object_get(in, name.c_str()) : nullptr;
        if (!value || json_is_null(value))
            return false;
        if (!json_is_number(value)) {
            refused_ = true;
            return false;
        }
        const double number = json_number_value(value);
        if (number > most || (is_bound && number < 1))
            json_object_set_new(in, name.c_str(), of(most));
        return true;
    }
    static json_t* of(double number)
    {
        return number == std::floor(number) ? json_integer(static_cast<json_int_t>(number))
                                            : json_real(number);
    }
    void bound(json_t* root)
    {
        bool given = false;
        for (const char* field : bounds) {
            const bool own = std::find(own_.begin(), own_.end(), field) != own_.end();
            const bool there = cap(root, field, bound_, true, own);
            given = given || (there && own);
        }
        if (given || refused_)
            return;
        for (const std::string& field : give_) {
            std::string name;
            if (json_t* in = holder(root, field, name, true, true))
                json_object_set_new(in, name.c_str(), of(bound_));
        }
    }

    std::vector<reference_rule> rules_;
    double bound_;
    std::vector<std::string> own_, give_;
    bool refused_ = false;
};
