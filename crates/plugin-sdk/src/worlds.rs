//! The contract, generated from `wit/`: one world per exported interface, so that
//! a plugin exports exactly the interfaces it serves; the component encoder joins
//! the worlds that a plugin used, and leaves out what it doesn't import.
//!
//! To add a hook: one more module here, in the form of `resolve`.
#![expect(missing_docs, reason = "generated; documented in wit/policy.wit")]

/// What every plugin exports, and everything a plugin may import.
pub mod plugin {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-plugin;
            world part {
                import tidegate:policy/types@0.2.0;
                import tidegate:host/log@0.2.0;
                import tidegate:host/clock@0.2.0;
                import tidegate:host/tokens@0.2.0;
                import tidegate:host/secrets@0.2.0;
                import tidegate:host/counters@0.2.0;
                import tidegate:host/http@0.2.0;
                import tidegate:host/journal@0.2.0;
                export tidegate:policy/plugin@0.2.0;
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
                export tidegate:policy/authenticate@0.2.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-authenticate/part-authenticate",
        with: { "tidegate:policy/types@0.2.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_authenticate",
        default_bindings_module: "tidegate_plugin::worlds::authenticate",
    });
}

/// The hook `quota`.
pub mod quota {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-quota;
            world part-quota {
                export tidegate:policy/quota@0.2.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-quota/part-quota",
        with: { "tidegate:policy/types@0.2.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_quota",
        default_bindings_module: "tidegate_plugin::worlds::quota",
    });
}

/// The hook `resolve`.
pub mod resolve {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-resolve;
            world part-resolve {
                export tidegate:policy/resolve@0.2.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-resolve/part-resolve",
        with: { "tidegate:policy/types@0.2.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_resolve",
        default_bindings_module: "tidegate_plugin::worlds::resolve",
    });
}

/// The hook `activity`.
pub mod activity {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-activity;
            world part-activity {
                export tidegate:policy/activity@0.2.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-activity/part-activity",
        with: { "tidegate:policy/types@0.2.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_activity",
        default_bindings_module: "tidegate_plugin::worlds::activity",
    });
}

/// The hook `messages`.
pub mod messages {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-messages;
            world part-messages {
                export tidegate:policy/messages@0.2.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-messages/part-messages",
        with: { "tidegate:policy/types@0.2.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_messages",
        default_bindings_module: "tidegate_plugin::worlds::messages",
    });
}

/// The hook `mounts`.
pub mod mounts {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-mounts;
            world part-mounts {
                export tidegate:policy/mounts@0.2.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-mounts/part-mounts",
        with: { "tidegate:policy/types@0.2.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_mounts",
        default_bindings_module: "tidegate_plugin::worlds::mounts",
    });
}

/// The hook `objects`.
pub mod objects {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-objects;
            world part-objects {
                export tidegate:policy/objects@0.2.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-objects/part-objects",
        with: { "tidegate:policy/types@0.2.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_objects",
        default_bindings_module: "tidegate_plugin::worlds::objects",
    });
}

/// The hook `egress`.
pub mod egress {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-egress;
            world part-egress {
                export tidegate:policy/egress@0.2.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-egress/part-egress",
        with: { "tidegate:policy/types@0.2.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_egress",
        default_bindings_module: "tidegate_plugin::worlds::egress",
    });
}

/// The hook `observe`.
pub mod observe {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk-observe;
            world part-observe {
                export tidegate:policy/observe@0.2.0;
            }
        ",
        path: ["../../wit"],
        world: "tidegate:sdk-observe/part-observe",
        with: { "tidegate:policy/types@0.2.0": crate::worlds::plugin::tidegate::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_observe",
        default_bindings_module: "tidegate_plugin::worlds::observe",
    });
}
