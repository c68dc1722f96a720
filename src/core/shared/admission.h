// The one decision: whether a request may go on under every limit of its key, user, model, address and zone,
// all taken or none.
//
// Every function needs the zone's lock.
#pragma once

#include "admission_request.h"
#include "decision.h"
#include "undo_journal.h"

namespace llm {

class admission {
public:
    admission(subject_table& subjects, lease_table& leases, undo_journal& journal)
        : subjects_(subjects), leases_(leases), journal_(journal)
    {
    }

    // Does beforehand what needs no lock, so that it is held for a shorter time. Optional.
    void prepare(admission_request& request) const;
    // Optional: has the subjects of this key on their way into the cache, see subject_table.
    void prefetch(const shared_key& key) const;
    // `key` is the request's, and may be used.
    admission_result admit(const admission_request& request, shared_key& key)
    {
        if (key.policy->limited) {
            own_limits own(key.policy->limit, request.rules);
            return admit(request, key, &own);
        }
        return admit(request, key, nullptr);
    }

private:
    admission_result admit(const admission_request& request, shared_key& key, own_limits* own);

    void take(decision& d);
    bool make_missing(decision& d);

    subject_table& subjects_;
    lease_table& leases_;
    undo_journal& journal_;
};

} // namespace llm
