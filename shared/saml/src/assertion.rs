//! What an assertion says. All of it is read from below the element that a signature covers.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    error::SamlError,
    instant::parse_instant,
    names::{ASSERTION, BEARER},
    response::{Absent, Expectation, check_issuer, check_request, check_version},
    signature::SignedElement,
    xml::{XmlElement, clip},
};

/// How far the clocks of this machine and the provider's may differ.
const SKEW: TimeDelta = TimeDelta::seconds(60);
/// How long after its making an assertion is accepted, whatever it says: a replay need be remembered no longer.
const LONGEST_LIFE: TimeDelta = TimeDelta::hours(1);
/// The most attributes, and the most values of all of them.
const MOST_VALUES: usize = 5000;
/// The longest name or value, in bytes.
const LONGEST_VALUE: usize = 4096;
/// The longest name of a person, in bytes.
const LONGEST_NAME_ID: usize = 1024;

/// How a provider names a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameId {
    /// The name.
    pub value: String,
    /// Its format, which says whether it stays the same; `None` when the provider does not say.
    pub format: Option<String>,
}

/// What a provider says of a person, and stands for with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAssertion {
    /// The assertion's id.
    pub id: String,
    /// Until when the caller must refuse an assertion with this id from this provider.
    pub replay_until: DateTime<Utc>,
    /// The person's name; without one, an attribute must say who it is.
    pub name_id: Option<NameId>,
    /// The provider's session, named when it ends early.
    pub session_index: Option<String>,
    /// Attributes by name, with their values in order.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// How the person was authenticated; `None` when the provider does not say.
    pub authn_context: Option<String>,
    /// When the person was authenticated.
    pub authn_instant: DateTime<Utc>,
    /// When the provider's session ends, if it says so.
    pub session_end: Option<DateTime<Utc>>,
}

/// Reads and checks an assertion.
pub(crate) fn read_assertion(
    signed: SignedElement<'_>,
    expectation: &Expectation<'_>,
) -> Result<VerifiedAssertion, SamlError> {
    let now = expectation.now;
    let assertion = signed.element();
    check_version(assertion)?;
    let id = assertion.attribute("ID").filter(|id| !id.is_empty());
    let id = id.ok_or(SamlError::Missing("ID"))?;
    let issuer = assertion.one_child(ASSERTION, "Issuer")?;
    check_issuer(issuer.ok_or(SamlError::Missing("Issuer"))?, expectation)?;
    let issued = read_time(assertion, "IssueInstant")?.ok_or(SamlError::Missing("IssueInstant"))?;
    let mut window = Window {
        until: issued + LONGEST_LIFE,
        now,
    };
    window.begin("assertion", issued)?;
    window.end("assertion", issued + LONGEST_LIFE)?;

    let conditions = assertion.one_child(ASSERTION, "Conditions")?;
    let conditions = conditions.ok_or(SamlError::Missing("Conditions"))?;
    check_conditions(conditions, &mut window, expectation)?;
    let subject = assertion.one_child(ASSERTION, "Subject")?;
    let subject = subject.ok_or(SamlError::Missing("Subject"))?;
    check_confirmation(subject, &mut window, expectation)?;
    let name_id = subject.one_child(ASSERTION, "NameID")?;
    let statement = Authentication::read(assertion, &window, expectation)?;
    Ok(VerifiedAssertion {
        id: read_short("ID", id, LONGEST_NAME_ID)?,
        replay_until: window.until + SKEW,
        name_id: name_id.map(read_name_id).transpose()?,
        session_index: statement.session_index,
        attributes: read_attributes(assertion)?,
        authn_context: statement.context,
        authn_instant: statement.instant,
        session_end: statement.session_end,
    })
}

/// When an assertion is accepted.
struct Window {
    /// The end, before the skew of clocks.
    until: DateTime<Utc>,
    now: DateTime<Utc>,
}

impl Window {
    /// Refuses what begins later.
    fn begin(&self, what: &'static str, from: DateTime<Utc>) -> Result<(), SamlError> {
        let now = self.now;
        match from > now + SKEW {
            true => Err(SamlError::NotYetValid { what, from, now }),
            false => Ok(()),
        }
    }

    /// Refuses what has ended, and makes the window end then at the latest.
    fn end(&mut self, what: &'static str, until: DateTime<Utc>) -> Result<(), SamlError> {
        self.check_end(what, until)?;
        self.until = self.until.min(until);
        Ok(())
    }

    fn check_end(&self, what: &'static str, until: DateTime<Utc>) -> Result<(), SamlError> {
        let now = self.now;
        match until.checked_add_signed(SKEW).unwrap_or(until) <= now {
            true => Err(SamlError::Expired { what, until, now }),
            false => Ok(()),
        }
    }
}

fn read_time(
    element: XmlElement<'_>,
    what: &'static str,
) -> Result<Option<DateTime<Utc>>, SamlError> {
    let Some(text) = element.attribute(what) else {
        return Ok(None);
    };
    let value = || clip(text);
    let wrong = || SamlError::Instant {
        what,
        value: value(),
    };
    let time = parse_instant(text).ok_or_else(wrong)?;
    // Far from the ends of time, so that sums do not overflow.
    match (1970..3000).contains(&chrono::Datelike::year(&time)) {
        true => Ok(Some(time)),
        false => Err(wrong()),
    }
}

fn check_conditions(
    conditions: XmlElement<'_>,
    window: &mut Window,
    expectation: &Expectation<'_>,
) -> Result<(), SamlError> {
    if let Some(from) = read_time(conditions, "NotBefore")? {
        window.begin("assertion", from)?;
    }
    if let Some(until) = read_time(conditions, "NotOnOrAfter")? {
        window.end("assertion", until)?;
    }
    let mut has_audience = false;
    for condition in conditions.children() {
        if condition.is(ASSERTION, "AudienceRestriction") {
            has_audience = true;
            check_audience(condition, expectation)?;
        } else if !condition.is(ASSERTION, "OneTimeUse")
            && !condition.is(ASSERTION, "ProxyRestriction")
        {
            // Every assertion is used once, and none is passed on. What is not known must not be taken for met.
            return Err(SamlError::Condition(clip(condition.local_name())));
        }
    }
    match has_audience {
        true => Ok(()),
        false => Err(SamlError::Missing("AudienceRestriction")),
    }
}

/// Checks that this service is among those of a restriction. With several restrictions, each must name it.
fn check_audience(
    restriction: XmlElement<'_>,
    expectation: &Expectation<'_>,
) -> Result<(), SamlError> {
    let audiences = restriction.children_named(ASSERTION, "Audience");
    let audiences: Vec<String> = audiences.map(XmlElement::text).collect::<Result<_, _>>()?;
    if audiences
        .iter()
        .any(|audience| audience == expectation.entity_id)
    {
        return Ok(());
    }
    Err(SamlError::Audience {
        found: clip(&audiences.join(", ")),
        expected: expectation.entity_id.to_owned(),
    })
}

/// Checks that one of the confirmations lets whoever brings the assertion be its subject, here and now.
fn check_confirmation(
    subject: XmlElement<'_>,
    window: &mut Window,
    expectation: &Expectation<'_>,
) -> Result<(), SamlError> {
    let bearers = subject
        .children_named(ASSERTION, "SubjectConfirmation")
        .filter(|confirmation| confirmation.attribute("Method") == Some(BEARER));
    let mut latest = None;
    let mut refusal = SamlError::NotBearer;
    for bearer in bearers {
        match check_bearer(bearer, window, expectation) {
            // Any of them would be accepted, so a replay is one until the last has ended.
            Ok(until) => latest = latest.max(Some(until)),
            Err(error) => refusal = error,
        }
    }
    match latest {
        Some(until) => window.end("assertion", until),
        None => Err(refusal),
    }
}

/// Checks one confirmation, and returns when it ends.
fn check_bearer(
    bearer: XmlElement<'_>,
    window: &Window,
    expectation: &Expectation<'_>,
) -> Result<DateTime<Utc>, SamlError> {
    let data = bearer.one_child(ASSERTION, "SubjectConfirmationData")?;
    let data = data.ok_or(SamlError::Missing("SubjectConfirmationData"))?;
    let recipient = data.attribute("Recipient").unwrap_or_default().trim();
    if recipient != expectation.acs_url {
        return Err(SamlError::Recipient {
            found: clip(recipient),
            expected: expectation.acs_url.to_owned(),
        });
    }
    check_request(
        data.attribute("InResponseTo"),
        expectation.request,
        Absent::IsRefused,
    )?;
    if let Some(from) = read_time(data, "NotBefore")? {
        window.begin("bearer confirmation", from)?;
    }
    let until = read_time(data, "NotOnOrAfter")?;
    let until = until.ok_or(SamlError::Missing(
        "NotOnOrAfter in SubjectConfirmationData",
    ))?;
    window.check_end("bearer confirmation", until)?;
    Ok(until)
}

/// How and when the person was authenticated.
struct Authentication {
    context: Option<String>,
    instant: DateTime<Utc>,
    session_index: Option<String>,
    session_end: Option<DateTime<Utc>>,
}

impl Authentication {
    fn read(
        assertion: XmlElement<'_>,
        window: &Window,
        expectation: &Expectation<'_>,
    ) -> Result<Self, SamlError> {
        let statements: Vec<_> = assertion
            .children_named(ASSERTION, "AuthnStatement")
            .collect();
        let [statement] = statements.as_slice() else {
            return Err(SamlError::AuthnStatements(statements.len()));
        };
        let instant = read_time(*statement, "AuthnInstant")?;
        let instant = instant.ok_or(SamlError::Missing("AuthnInstant"))?;
        window.begin("authentication", instant)?;
        if let Some(expected) = expectation.authenticated_after
            && instant + SKEW < expected
        {
            return Err(SamlError::AuthnTooOld {
                found: instant,
                expected,
            });
        }
        let session_end = read_time(*statement, "SessionNotOnOrAfter")?;
        if let Some(until) = session_end {
            window.check_end("session at the provider", until)?;
        }
        let session_index = statement.attribute("SessionIndex");
        let session_index =
            session_index.map(|index| read_short("SessionIndex", index, LONGEST_NAME_ID));
        Ok(Self {
            context: read_context(*statement, expectation)?,
            instant,
            session_index: session_index.transpose()?,
            session_end,
        })
    }
}

fn read_context(
    statement: XmlElement<'_>,
    expectation: &Expectation<'_>,
) -> Result<Option<String>, SamlError> {
    let context = statement.one_child(ASSERTION, "AuthnContext")?;
    let context = context.ok_or(SamlError::Missing("AuthnContext"))?;
    let class = context.one_child(ASSERTION, "AuthnContextClassRef")?;
    let class = class.map(XmlElement::text).transpose()?;
    let class = class.filter(|class| !class.is_empty());
    let expected = expectation.authn_contexts;
    let is_expected = class.as_ref().is_some_and(|class| expected.contains(class));
    if !expected.is_empty() && !is_expected {
        return Err(SamlError::AuthnContext {
            found: clip(&class.unwrap_or_default()),
            expected: expected.join(" or "),
        });
    }
    class
        .map(|class| read_short("AuthnContextClassRef", &class, LONGEST_NAME_ID))
        .transpose()
}

fn read_name_id(element: XmlElement<'_>) -> Result<NameId, SamlError> {
    let value = read_short("NameID", &element.text()?, LONGEST_NAME_ID)?;
    if value.is_empty() {
        return Err(SamlError::Missing("text in NameID"));
    }
    let format = element.attribute("Format");
    let format = format.map(|format| read_short("Format", format, LONGEST_NAME_ID));
    Ok(NameId {
        value,
        format: format.transpose()?,
    })
}

/// Reads the attributes of all statements. Those with one name are one attribute.
fn read_attributes(assertion: XmlElement<'_>) -> Result<BTreeMap<String, Vec<String>>, SamlError> {
    let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut count = 0;
    let elements = assertion
        .children_named(ASSERTION, "AttributeStatement")
        .flat_map(|statement| statement.children_named(ASSERTION, "Attribute"));
    for element in elements {
        let name = element.attribute("Name").unwrap_or_default().trim();
        if name.is_empty() {
            return Err(SamlError::Missing("Name of an Attribute"));
        }
        let name = read_short("Name", name, LONGEST_VALUE)?;
        let values = attributes.entry(name.clone()).or_default();
        count += 1;
        for value in element.children_named(ASSERTION, "AttributeValue") {
            count += 1;
            if count > MOST_VALUES {
                return Err(SamlError::TooManyValues(MOST_VALUES));
            }
            if let Some(value) = value_holder(value) {
                values.push(read_short(&name, &value.text()?, LONGEST_VALUE)?);
            }
        }
        if count > MOST_VALUES {
            return Err(SamlError::TooManyValues(MOST_VALUES));
        }
    }
    Ok(attributes)
}

/// Returns the element whose text is an attribute's value: itself, or the one name inside of it. Values of other forms are
/// left out, because they are no text.
fn value_holder(value: XmlElement<'_>) -> Option<XmlElement<'_>> {
    let mut inside = value.children();
    match (inside.next(), inside.next()) {
        (None, _) => Some(value),
        (Some(name), None) if name.is(ASSERTION, "NameID") => {
            name.children().next().is_none().then_some(name)
        }
        _ => None,
    }
}

/// Returns a value that is not too long.
fn read_short(name: &str, value: &str, longest: usize) -> Result<String, SamlError> {
    match value.len() <= longest {
        true => Ok(value.to_owned()),
        false => Err(SamlError::TooLong {
            name: clip(name),
            longest,
        }),
    }
}
