// How the zone is locked, without a template in every function: `lock(f)` calls f with the zone locked.
#pragma once

#include <type_traits>

namespace llm {

class zone_lock {
public:
    template <class Locked>
    explicit zone_lock(Locked& locked)
        : with_(&locked),
          call_([](void* with, void (*f)(void*), void* of) { (*static_cast<Locked*>(with))([&] { f(of); }); })
    {
    }

    template <class F>
    void operator()(F&& f) const
    {
        using function = std::remove_reference_t<F>;
        call_(
            with_, [](void* of) { (*static_cast<function*>(of))(); },
            const_cast<void*>(static_cast<const void*>(&f)));
    }

private:
    void* with_;
    void (*call_)(void* with, void (*f)(void*), void* of);
};

} // namespace llm
