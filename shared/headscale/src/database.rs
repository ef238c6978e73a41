//! Reads headscale's tables, in one state.

use sqlx::{
    AnyConnection, Connection as _, Row as _,
    any::{AnyConnectOptions, AnyRow, install_default_drivers},
};

use crate::{
    HeadscaleError,
    rows::{self, HeadscaleData, HeadscaleKey, HeadscaleNode, HeadscaleUser},
};

/// Which of two forms the tables have.
struct SchemaForm {
    /// The column with a node's tags: until 0.27 only those that an administrator gave.
    tags: &'static str,
    /// Whether keys are kept as hashes: from 0.28 on.
    has_hashed_keys: bool,
}

/// Reads users, nodes, keys and the newest policy of a database, `sqlite://PATH` or `postgres://…`. Nothing is written.
///
/// # Errors
///
/// When it can not be read, or is none of headscale 0.26 to 0.29.
pub async fn read_database(url: &str) -> Result<HeadscaleData, HeadscaleError> {
    install_default_drivers();
    let url = match url.strip_prefix("sqlite://") {
        // One that is not there is not made.
        Some(path) => format!("sqlite://{path}?mode=ro"),
        None => url.to_owned(),
    };
    let options: AnyConnectOptions = url.parse()?;
    let mut connection = AnyConnection::connect_with(&options).await?;
    let mut read = connection.begin().await?;
    if !url.starts_with("sqlite:") {
        let sql = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
        sqlx::query(sql).execute(&mut *read).await?;
    }
    let form = find_form(&mut read).await?;
    let data = HeadscaleData {
        users: read_users(&mut read).await?,
        nodes: read_nodes(&mut read, &form).await?,
        keys: read_keys(&mut read, &form).await?,
        policy: read_policy(&mut read).await?,
        tags_are_whole: form.tags == "tags",
    };
    drop(read);
    connection.close().await?;
    Ok(data)
}

async fn find_form(on: &mut AnyConnection) -> Result<SchemaForm, HeadscaleError> {
    let known = sqlx::query("SELECT id FROM migrations")
        .fetch_all(&mut *on)
        .await;
    let known = known.map_err(|error| {
        HeadscaleError::Schema(format!(
            "it has no table of headscale's migrations: {error}"
        ))
    })?;
    let known: Vec<String> = known
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let has = |id: &str| known.iter().any(|known| known == id);
    // The last migrations of 0.26; a database that a later release has made has them, too.
    if !has("202505141324") {
        let text =
            "it is of a release before 0.26: start headscale 0.26 or newer on it once, or upgrade";
        return Err(HeadscaleError::Schema(text.to_owned()));
    }
    let has_hashed_keys = has("202511011637-preauthkey-bcrypt");
    let tags = match has("202511131445-node-forced-tags-to-tags") {
        true => "tags",
        false => "forced_tags",
    };
    Ok(SchemaForm {
        tags,
        has_hashed_keys,
    })
}

async fn read_users(on: &mut AnyConnection) -> Result<Vec<HeadscaleUser>, HeadscaleError> {
    let rows = sqlx::query(
        "SELECT CAST(id AS BIGINT) AS id, name, display_name, email, provider_identifier
         FROM users WHERE deleted_at IS NULL ORDER BY id",
    );
    let rows = rows.fetch_all(on).await?;
    let read = |row: &AnyRow| {
        Ok(HeadscaleUser {
            id: row.try_get("id")?,
            name: text(row, "name")?,
            display_name: text(row, "display_name")?,
            email: text(row, "email")?,
            provider_identifier: text(row, "provider_identifier")?,
        })
    };
    rows.iter().map(read).collect()
}

async fn read_nodes(
    on: &mut AnyConnection,
    form: &SchemaForm,
) -> Result<Vec<HeadscaleNode>, HeadscaleError> {
    let sql = format!(
        "SELECT CAST(id AS BIGINT) AS id, machine_key, node_key, disco_key, endpoints, host_info, ipv4, ipv6, hostname,
             given_name, CAST(COALESCE(user_id, 0) AS BIGINT) AS user_id, {} AS tags,
             CAST(COALESCE(auth_key_id, 0) AS BIGINT) AS auth_key_id, CAST(last_seen AS TEXT) AS last_seen,
             CAST(expiry AS TEXT) AS expiry, approved_routes, CAST(created_at AS TEXT) AS created_at
         FROM nodes WHERE deleted_at IS NULL ORDER BY id",
        form.tags
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(on).await?;
    let read = |row: &AnyRow| {
        let number: i64 = row.try_get("id")?;
        let of_row = |problem: String| HeadscaleError::Row {
            table: "nodes",
            number,
            problem,
        };
        let fields = rows::NodeFields {
            machine_key: &text(row, "machine_key")?,
            node_key: &text(row, "node_key")?,
            disco_key: &text(row, "disco_key")?,
            endpoints: &text(row, "endpoints")?,
            host_info: &text(row, "host_info")?,
            tags: &text(row, "tags")?,
            approved_routes: &text(row, "approved_routes")?,
            last_seen: &text(row, "last_seen")?,
            expiry: &text(row, "expiry")?,
            created_at: &text(row, "created_at")?,
        };
        let node = HeadscaleNode {
            id: number,
            ipv4: text(row, "ipv4")?,
            ipv6: text(row, "ipv6")?,
            hostname: text(row, "hostname")?,
            given_name: text(row, "given_name")?,
            user_id: row.try_get("user_id")?,
            auth_key_id: row.try_get("auth_key_id")?,
            ..HeadscaleNode::default()
        };
        fields.parse_into(node).map_err(of_row)
    };
    rows.iter().map(read).collect()
}

async fn read_keys(
    on: &mut AnyConnection,
    form: &SchemaForm,
) -> Result<Vec<HeadscaleKey>, HeadscaleError> {
    let prefix = if form.has_hashed_keys { "prefix" } else { "''" };
    let sql = format!(
        "SELECT CAST(id AS BIGINT) AS id, key, {prefix} AS prefix, CAST(COALESCE(user_id, 0) AS BIGINT) AS user_id,
             CAST(reusable AS INTEGER) AS reusable, CAST(ephemeral AS INTEGER) AS ephemeral,
             CAST(used AS INTEGER) AS used, tags, CAST(expiration AS TEXT) AS expiration
         FROM pre_auth_keys ORDER BY id"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(on).await?;
    let read = |row: &AnyRow| {
        let number: i64 = row.try_get("id")?;
        let of_row = |problem: String| HeadscaleError::Row {
            table: "pre_auth_keys",
            number,
            problem,
        };
        Ok(HeadscaleKey {
            id: number,
            has_text: !text(row, "key")?.is_empty(),
            prefix: text(row, "prefix")?,
            user_id: row.try_get("user_id")?,
            reusable: truth(row, "reusable")?,
            ephemeral: truth(row, "ephemeral")?,
            used: truth(row, "used")?,
            tags: rows::parse_list(&text(row, "tags")?).map_err(of_row)?,
            expiry: rows::parse_time(&text(row, "expiration")?).map_err(of_row)?,
        })
    };
    rows.iter().map(read).collect()
}

async fn read_policy(on: &mut AnyConnection) -> Result<Option<String>, HeadscaleError> {
    let sql = "SELECT data FROM policies WHERE deleted_at IS NULL ORDER BY id DESC LIMIT 1";
    let row = sqlx::query(sql).fetch_optional(on).await?;
    row.map(|row| text(&row, "data")).transpose()
}

/// Returns a text, empty for one that is not there. SQLite keeps some as bytes.
fn text(row: &AnyRow, column: &str) -> Result<String, HeadscaleError> {
    if let Ok(found) = row.try_get::<Option<String>, _>(column) {
        return Ok(found.unwrap_or_default());
    }
    let bytes: Option<Vec<u8>> = row.try_get(column)?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

fn truth(row: &AnyRow, column: &str) -> Result<bool, HeadscaleError> {
    if let Ok(found) = row.try_get::<Option<i64>, _>(column) {
        return Ok(found == Some(1));
    }
    Ok(row.try_get::<Option<i32>, _>(column)? == Some(1))
}
