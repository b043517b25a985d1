//! Which members of which object of OpenAPI 3.1 hold what: so that references are found where they
//! are references, and data that only look like them stay data. Not for changing anything.

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Schema,
    Response,
    Parameter,
    Example,
    RequestBody,
    Header,
    SecurityScheme,
    Link,
    Callback,
    PathItem,
    Operation,
    MediaType,
    Encoding,
}

/// What a member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    One(Kind),
    List(Kind),
    Map(Kind),
    /// A map whose `x-` members are extensions, not names.
    Extensible(Kind),
    Data,
}

/// The kinds that `components` holds, under the names of its members.
pub(crate) const COMPONENTS: [(Kind, &str); 10] = [
    (Kind::Schema, "schemas"),
    (Kind::Response, "responses"),
    (Kind::Parameter, "parameters"),
    (Kind::Example, "examples"),
    (Kind::RequestBody, "requestBodies"),
    (Kind::Header, "headers"),
    (Kind::SecurityScheme, "securitySchemes"),
    (Kind::Link, "links"),
    (Kind::Callback, "callbacks"),
    (Kind::PathItem, "pathItems"),
];

/// The methods that a path item may have.
pub(crate) const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

impl Kind {
    /// Returns the member of `components` that holds this kind.
    pub(crate) fn component(self) -> Option<&'static str> {
        COMPONENTS.iter().find(|(kind, _)| *kind == self).map(|(_, name)| *name)
    }

    /// Returns what a member of an object of this kind holds.
    pub(crate) fn child(self, key: &str) -> Child {
        use Child::{Extensible, List, Map, One};
        if key.starts_with("x-") {
            return Child::Data;
        }
        match (self, key) {
            (Self::Schema, "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas") => {
                Map(Self::Schema)
            }
            (Self::Schema, "allOf" | "anyOf" | "oneOf" | "prefixItems") => List(Self::Schema),
            (
                Self::Schema,
                "items"
                | "additionalProperties"
                | "additionalItems"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "contentSchema",
            ) => One(Self::Schema),
            (Self::PathItem, "parameters") | (Self::Operation, "parameters") => List(Self::Parameter),
            (Self::PathItem, method) if METHODS.contains(&method) => One(Self::Operation),
            (Self::Operation, "requestBody") => One(Self::RequestBody),
            (Self::Operation, "responses") => Extensible(Self::Response),
            (Self::Operation, "callbacks") => Map(Self::Callback),
            (Self::Callback, _) => One(Self::PathItem),
            (Self::Parameter | Self::Header | Self::MediaType, "schema") => One(Self::Schema),
            (Self::Parameter | Self::Header | Self::MediaType, "examples") => Map(Self::Example),
            (Self::Parameter | Self::Header | Self::RequestBody | Self::Response, "content") => Map(Self::MediaType),
            (Self::MediaType, "encoding") => Map(Self::Encoding),
            (Self::Response | Self::Encoding, "headers") => Map(Self::Header),
            (Self::Response, "links") => Map(Self::Link),
            _ => Child::Data,
        }
    }
}
