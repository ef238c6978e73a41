//! The tables. What is not here is not kept: passwords, certificates, and roles and entitlements, which SCIM does not give.

use super::{
    ScimAttribute, ScimMutability as Mutability, ScimSchema, ScimUniqueness as Uniqueness,
    ValueKind,
};

const PLAIN: ScimAttribute = ScimAttribute {
    name: "",
    description: "",
    kind: ValueKind::Text,
    is_multi: false,
    is_required: false,
    is_case_exact: false,
    mutability: Mutability::ReadWrite,
    is_always_returned: false,
    uniqueness: Uniqueness::None,
    canonical_values: &[],
};

const fn text(name: &'static str, description: &'static str) -> ScimAttribute {
    ScimAttribute {
        name,
        description,
        ..PLAIN
    }
}

const fn complex(
    name: &'static str,
    description: &'static str,
    parts: &'static [ScimAttribute],
) -> ScimAttribute {
    ScimAttribute {
        kind: ValueKind::Complex(parts),
        ..text(name, description)
    }
}

const fn list(
    name: &'static str,
    description: &'static str,
    parts: &'static [ScimAttribute],
) -> ScimAttribute {
    ScimAttribute {
        is_multi: true,
        ..complex(name, description, parts)
    }
}

const fn kind_of_value(values: &'static [&'static str]) -> ScimAttribute {
    ScimAttribute {
        canonical_values: values,
        ..text("type", "What the value is for.")
    }
}

const PRIMARY: ScimAttribute = ScimAttribute {
    kind: ValueKind::Boolean,
    ..text("primary", "Whether it is the preferred one of the values.")
};
const DISPLAY: ScimAttribute = text("display", "The value, as people see it.");

const fn read_only(attribute: ScimAttribute) -> ScimAttribute {
    ScimAttribute {
        mutability: Mutability::ReadOnly,
        ..attribute
    }
}

const fn immutable(attribute: ScimAttribute) -> ScimAttribute {
    ScimAttribute {
        mutability: Mutability::Immutable,
        ..attribute
    }
}

const fn exact(attribute: ScimAttribute) -> ScimAttribute {
    ScimAttribute {
        is_case_exact: true,
        ..attribute
    }
}

const fn reference(
    name: &'static str,
    description: &'static str,
    to: &'static [&'static str],
) -> ScimAttribute {
    exact(ScimAttribute {
        kind: ValueKind::Reference(to),
        ..text(name, description)
    })
}

const fn time(name: &'static str, description: &'static str) -> ScimAttribute {
    ScimAttribute {
        kind: ValueKind::DateTime,
        ..text(name, description)
    }
}

/// What every resource has.
pub(super) const COMMON: &[ScimAttribute] = &[
    ScimAttribute {
        is_always_returned: true,
        uniqueness: Uniqueness::Server,
        ..read_only(exact(text("id", "The resource, as this server names it.")))
    },
    ScimAttribute {
        uniqueness: Uniqueness::Server,
        ..exact(text("externalId", "The resource, as the client names it."))
    },
    ScimAttribute {
        is_multi: true,
        is_always_returned: true,
        ..reference("schemas", "The schemas of the resource.", &["uri"])
    },
    read_only(complex(
        "meta",
        "The resource's own data.",
        &[
            read_only(exact(text("resourceType", "What the resource is."))),
            read_only(time("created", "When it was made.")),
            read_only(time("lastModified", "When it was changed last.")),
            read_only(reference("location", "Its address.", &["uri"])),
            read_only(exact(text("version", "Its version, as in ETag."))),
        ],
    )),
];

/// A person.
pub const USER: ScimSchema = ScimSchema {
    id: "urn:ietf:params:scim:schemas:core:2.0:User",
    name: "User",
    description: "A person.",
    attributes: &[
        ScimAttribute {
            is_required: true,
            uniqueness: Uniqueness::Server,
            ..text("userName", "The login name.")
        },
        complex(
            "name",
            "The parts of the person's name.",
            &[
                text("formatted", "The whole name, as people see it."),
                text("familyName", "The family name."),
                text("givenName", "The given name."),
                text("middleName", "The middle names."),
                text("honorificPrefix", "What stands before the name."),
                text("honorificSuffix", "What stands after the name."),
            ],
        ),
        text("displayName", "The name that others see."),
        text("nickName", "What others call the person."),
        reference("profileUrl", "A page about the person.", &["external"]),
        text("title", "What the person is in the organisation."),
        text("userType", "How the person belongs to the organisation."),
        text(
            "preferredLanguage",
            "The languages that the person prefers.",
        ),
        text("locale", "How the person writes dates and numbers."),
        text("timezone", "The person's time zone."),
        ScimAttribute {
            kind: ValueKind::Boolean,
            ..text(
                "active",
                "Whether the person may use the network. When false, every device of the person is cut off.",
            )
        },
        list(
            "emails",
            "Mail addresses.",
            &[
                text("value", "The address."),
                DISPLAY,
                kind_of_value(&["work", "home", "other"]),
                PRIMARY,
            ],
        ),
        list(
            "phoneNumbers",
            "Telephone numbers.",
            &[
                text("value", "The number."),
                DISPLAY,
                kind_of_value(&["work", "home", "mobile", "fax", "pager", "other"]),
                PRIMARY,
            ],
        ),
        list(
            "photos",
            "Pictures of the person.",
            &[
                reference("value", "The picture's address.", &["external"]),
                DISPLAY,
                kind_of_value(&["photo", "thumbnail"]),
                PRIMARY,
            ],
        ),
        list(
            "addresses",
            "Postal addresses.",
            &[
                text("formatted", "The whole address."),
                text("streetAddress", "The street, with the house."),
                text("locality", "The town."),
                text("region", "The region."),
                text("postalCode", "The postal code."),
                text("country", "The country, as two letters."),
                kind_of_value(&["work", "home", "other"]),
                PRIMARY,
            ],
        ),
        read_only(list(
            "groups",
            "The groups that the person is in, by SCIM.",
            &[
                read_only(exact(text("value", "The group."))),
                read_only(reference("$ref", "The group's address.", &["Group"])),
                read_only(text("display", "The group's name.")),
                read_only(ScimAttribute {
                    canonical_values: &["direct"],
                    ..text("type", "How the person is in the group.")
                }),
            ],
        )),
    ],
};

/// What companies add to a person.
pub const ENTERPRISE_USER: ScimSchema = ScimSchema {
    id: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    name: "EnterpriseUser",
    description: "A person in a company.",
    attributes: &[
        text("employeeNumber", "The number at the company."),
        text("costCenter", "The cost centre."),
        text("organization", "The organisation."),
        text("division", "The division."),
        text("department", "The department."),
        complex(
            "manager",
            "Whom the person reports to.",
            &[
                exact(text("value", "The manager.")),
                reference("$ref", "The manager's address.", &["User"]),
                read_only(text("displayName", "The manager's name.")),
            ],
        ),
    ],
};

/// A named set of people.
pub const GROUP: ScimSchema = ScimSchema {
    id: "urn:ietf:params:scim:schemas:core:2.0:Group",
    name: "Group",
    description: "A named set of people, which policies select.",
    attributes: &[
        ScimAttribute {
            is_required: true,
            ..text("displayName", "The name.")
        },
        list(
            "members",
            "Who is in the group.",
            &[
                immutable(exact(text("value", "The person."))),
                immutable(reference("$ref", "The person's address.", &["User"])),
                immutable(ScimAttribute {
                    canonical_values: &["User"],
                    ..text("type", "What the member is.")
                }),
            ],
        ),
    ],
};
