//! The contract, generated from `wit/`: one world with every interface there is; a
//! component may serve and import any subset. Only types and the host's side come
//! from here: hooks are called through `instance`, which serves both versions.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "everything",
    with: {
        "tidegate:policy/types.request": crate::interfaces::RequestHandle,
        "tidegate:policy/types.identity": crate::interfaces::IdentityHandle,
        "tidegate:policy/types.sandbox": crate::interfaces::SandboxHandle,
    },
    imports: {
        default: trappable,
        "tidegate:host/http.send": async | trappable,
    },
});

/// The version before, frozen. Where its forms are today's, nothing of it is used
/// but its names.
pub(crate) mod since_v0_1 {
    wasmtime::component::bindgen!({
        path: "../../wit/since-v0.1.0",
        world: "policy",
        with: {
            "tidegate:policy/types.request": crate::interfaces::RequestHandle,
            "tidegate:policy/types.identity": crate::interfaces::IdentityHandle,
            "tidegate:policy/types.sandbox": crate::interfaces::SandboxHandle,
        },
        imports: { default: trappable },
    });
}
