//! Searches: what a filter matches, in the order that is asked for, a page at a time.
//!
//! What a filter finds by a name or identifier is looked up. Anything else is judged row by row, of which only numbers and what
//! they are sorted by are kept, so that a search costs time and little room.

use bowline_proto::identity::v1::{ListScimResourcesRequest, ListScimResourcesResponse};
use bowline_scim::{
    Projection, ScimFilter, ScimType, discovery::MOST_RESULTS, path::FieldPath, sort::SortKey,
};
use sqlx::AnyConnection;

use super::{
    ScimProvisioning, no_resource, read_id, read_projection,
    resource::{ReadParts, answer_resource, describe_resource},
};
use crate::{
    domain::scim::fold_name,
    error::IdentityError,
    store::{
        self,
        scim::{ScimKey, ScimRow},
    },
};

/// How many are in a page when nobody says.
const PAGE: i64 = 100;
/// How many rows are judged at once.
const CHUNK: i64 = 500;
/// How large the resources of a page are in all, in bytes. A page has at least one.
const LARGEST_PAGE: usize = 2 << 20;

/// A search that was read.
struct Search {
    of: ScimType,
    connection_id: u64,
    filter: Option<ScimFilter>,
    sort_by: Option<FieldPath>,
    is_descending: bool,
    skipped: usize,
    most: usize,
    projection: Projection,
}

impl ScimProvisioning {
    /// Returns a user or group.
    pub(crate) async fn get_resource(
        &self,
        request: super::ScimRequest,
    ) -> Result<bowline_proto::identity::v1::ScimResource, IdentityError> {
        let caller = self.authenticate(&request.token).await?;
        let (of, projection) = (request.of, request.read_projection()?);
        let key = ScimKey::Id(read_id(of, &request.id)?);
        let mut read = self.log.database().begin_read().await?;
        let found = store::scim::find_resource(&mut read, caller.connection_id, of, key).await?;
        let row = found.ok_or(no_resource(of))?;
        answer_resource(&mut read, &row, &projection).await
    }

    /// Returns a page of what a filter matches.
    pub(crate) async fn list_resources(
        &self,
        of: ScimType,
        request: ListScimResourcesRequest,
    ) -> Result<ListScimResourcesResponse, IdentityError> {
        let caller = self.authenticate(&request.token).await?;
        let search = read_search(of, caller.connection_id, &request)?;
        let mut read = self.log.database().begin_read().await?;
        let on = &mut *read;
        let (total, rows) = match (&search.filter, &search.sort_by) {
            (None, None) => read_page(on, &search).await?,
            _ => find_page(on, &search).await?,
        };
        let mut resources = Vec::new();
        let mut size = 0;
        for row in rows {
            let resource = answer_resource(on, &row, &search.projection).await?;
            size += resource.body.len();
            if size > LARGEST_PAGE && !resources.is_empty() {
                break;
            }
            resources.push(resource);
        }
        Ok(ListScimResourcesResponse {
            total,
            resources,
            start_index: u64::try_from(search.skipped)
                .unwrap_or(u64::MAX)
                .saturating_add(1),
        })
    }
}

fn read_search(
    of: ScimType,
    connection_id: u64,
    request: &ListScimResourcesRequest,
) -> Result<Search, IdentityError> {
    let filter = match request.filter.trim() {
        "" => None,
        text => Some(ScimFilter::parse(of, text)?),
    };
    let sort_by = match request.sort_by.trim() {
        "" => None,
        name => Some(FieldPath::parse(of, name)?),
    };
    let most = request
        .count
        .unwrap_or(PAGE)
        .clamp(0, i64::from(MOST_RESULTS));
    Ok(Search {
        of,
        connection_id,
        filter,
        sort_by,
        is_descending: request.is_descending,
        skipped: usize::try_from(request.start_index.max(1) - 1).unwrap_or(usize::MAX),
        most: usize::try_from(most).unwrap_or_default(),
        projection: read_projection(of, request.projection.as_ref())?,
    })
}

/// Reads a page of everything, as the table has it.
async fn read_page(
    on: &mut AnyConnection,
    search: &Search,
) -> Result<(u64, Vec<ScimRow>), IdentityError> {
    let total = store::scim::count_resources(on, search.connection_id, search.of).await?;
    let skipped = i64::try_from(search.skipped).unwrap_or(i64::MAX);
    let most = i64::try_from(search.most).unwrap_or_default();
    let rows = store::scim::page_resources(on, search.connection_id, search.of, skipped, most);
    Ok((total, rows.await?))
}

/// Finds what the filter matches, and reads a page of it in the order that is asked for.
async fn find_page(
    on: &mut AnyConnection,
    search: &Search,
) -> Result<(u64, Vec<ScimRow>), IdentityError> {
    let mut found: Vec<(SortKey, u64)> = Vec::new();
    match find_candidate(on, search).await? {
        Some(candidates) => {
            for row in candidates {
                judge_row(on, search, &row, &mut found).await?;
            }
        }
        None => {
            let mut after = 0;
            loop {
                let (connection, of) = (search.connection_id, search.of);
                let rows = store::scim::list_resources(on, connection, of, after, CHUNK).await?;
                let Some(last) = rows.last() else {
                    break;
                };
                after = last.id;
                for row in &rows {
                    judge_row(on, search, row, &mut found).await?;
                }
            }
        }
    }
    found.sort();
    if search.is_descending && search.sort_by.is_some() {
        found.reverse();
    }
    let total = u64::try_from(found.len()).unwrap_or(u64::MAX);
    let mut rows = Vec::new();
    for (_, id) in found.into_iter().skip(search.skipped).take(search.most) {
        let key = ScimKey::Id(id);
        rows.extend(store::scim::find_resource(on, search.connection_id, search.of, key).await?);
    }
    Ok((total, rows))
}

/// Returns the rows that a filter can match at all, where it asks for one name or identifier.
async fn find_candidate(
    on: &mut AnyConnection,
    search: &Search,
) -> Result<Option<Vec<ScimRow>>, IdentityError> {
    let Some(filter) = &search.filter else {
        return Ok(None);
    };
    let name = match search.of {
        ScimType::User => "userName",
        ScimType::Group => "displayName",
    };
    let Some((field, text)) = filter.find_equality(&["id", "externalId", name]) else {
        return find_groups_of_member(on, search, filter).await;
    };
    let folded = fold_name(text);
    let key = match field {
        "id" => match text.parse() {
            Ok(id) => ScimKey::Id(id),
            Err(_) => return Ok(Some(Vec::new())),
        },
        "externalId" => ScimKey::External(text),
        _ => ScimKey::Name(&folded),
    };
    let found = store::scim::find_resource(on, search.connection_id, search.of, key).await?;
    Ok(Some(found.into_iter().collect()))
}

/// Returns the groups of one person, where a filter asks for groups with that member.
async fn find_groups_of_member(
    on: &mut AnyConnection,
    search: &Search,
    filter: &ScimFilter,
) -> Result<Option<Vec<ScimRow>>, IdentityError> {
    if search.of != ScimType::Group {
        return Ok(None);
    }
    let Some(text) = filter.find_member() else {
        return Ok(None);
    };
    let Ok(user_id) = text.parse() else {
        return Ok(Some(Vec::new()));
    };
    let mut rows = Vec::new();
    for (id, _) in store::scim::list_groups_of(on, search.connection_id, user_id).await? {
        let key = ScimKey::Id(id);
        rows.extend(store::scim::find_resource(on, search.connection_id, search.of, key).await?);
    }
    Ok(Some(rows))
}

/// Keeps the number of a row that the filter matches.
async fn judge_row(
    on: &mut AnyConnection,
    search: &Search,
    row: &ScimRow,
    found: &mut Vec<(SortKey, u64)>,
) -> Result<(), IdentityError> {
    let asks = |attribute: &str| {
        let by_filter = search
            .filter
            .as_ref()
            .is_some_and(|filter| filter.asks_about(attribute));
        by_filter
            || search
                .sort_by
                .is_some_and(|path| path.attribute.name == attribute)
    };
    let parts = ReadParts {
        members: asks("members"),
        groups: asks("groups"),
    };
    let resource = describe_resource(on, row, parts).await?;
    if search
        .filter
        .as_ref()
        .is_none_or(|filter| filter.matches(&resource))
    {
        let key = search
            .sort_by
            .map_or(SortKey::Missing, |path| SortKey::of(&path, &resource));
        found.push((key, row.id));
    }
    Ok(())
}
