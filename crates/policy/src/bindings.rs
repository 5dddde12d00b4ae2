//! The contract, generated from `wit/`. The world named here is the set of hooks
//! that this host asks; a component may serve any subset.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "gatekeeper",
    with: {
        "tidegate:policy/types.request": crate::interfaces::RequestHandle,
        "tidegate:policy/types.identity": crate::interfaces::IdentityHandle,
        "tidegate:policy/types.sandbox": crate::interfaces::SandboxHandle,
    },
    imports: { default: trappable },
});
