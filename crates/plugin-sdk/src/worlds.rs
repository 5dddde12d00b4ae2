//! The contract, generated from `wit/`: one world per exported interface, so that
//! a plugin exports exactly the interfaces it serves; the component encoder joins
//! the worlds that a plugin used.
//!
//! To add a hook: one more module here, in the form of `resolve`.
#![expect(missing_docs, reason = "generated; documented in wit/policy.wit")]

/// What every plugin exports, and everything a plugin may import.
pub mod plugin {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-plugin;
            world part {
                import tidegate:policy/types@0.1.0;
                import tidegate:host/log@0.1.0;
                import tidegate:host/clock@0.1.0;
                import tidegate:host/tokens@0.1.0;
                import tidegate:host/secrets@0.1.0;
                import tidegate:host/counters@0.1.0;
                export tidegate:policy/plugin@0.1.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-plugin/part",
        pub_export_macro: true,
        export_macro_name: "export_plugin",
        default_bindings_module: "tidegate_plugin::worlds::plugin",
        generate_all,
    });
}

/// The hook `authenticate`.
pub mod authenticate {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-authenticate;
            world part-authenticate {
                export tidegate:policy/authenticate@0.1.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-authenticate/part-authenticate",
        with: { "tidegate:policy/types@0.1.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_authenticate",
        default_bindings_module: "tidegate_plugin::worlds::authenticate",
    });
}

/// The hook `resolve`.
pub mod resolve {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-resolve;
            world part-resolve {
                export tidegate:policy/resolve@0.1.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-resolve/part-resolve",
        with: { "tidegate:policy/types@0.1.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_resolve",
        default_bindings_module: "tidegate_plugin::worlds::resolve",
    });
}
