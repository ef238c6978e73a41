//! Sessions of programs at a terminal (RFC 8628): the program shows a code, its person logs in in any browser, sees the program
//! and says yes, and the program fetches the session.

use bowline_clock::random_bytes;
use bowline_db::to_micros;
use bowline_ids::LoginId;
use bowline_proto::identity::v1::{
    LoginState, OpenProgramSessionResponse, StartProgramLoginRequest, StartProgramLoginResponse,
};
use bowline_tokens::{PresentedToken, TokenKind};

use super::BrowserSessions;
use crate::{
    domain::{
        login::with_state_at,
        program::{describe_session, make_user_code, new_login, read_user_code},
    },
    error::IdentityError,
    login_waiters::{NOTE_INTERVAL, note_awaited},
    store::{self, logins::ProgramLogin},
};

/// What is said of a code that is not there, or was used: which of them is nobody's business.
const NO_PROGRAM_LOGIN: IdentityError = IdentityError::NotFound("login of a program");

impl BrowserSessions {
    /// Begins the login of a program.
    pub(crate) async fn start_program_login(
        &self,
        request: StartProgramLoginRequest,
    ) -> Result<StartProgramLoginResponse, IdentityError> {
        let StartProgramLoginRequest { name, description } = request;
        let code = TokenKind::DeviceCode.make_token(random_bytes(), random_bytes());
        let made = new_login(
            LoginId::from_random(random_bytes()).to_string(),
            code.hash,
            make_user_code(random_bytes()),
            &name,
            description.unwrap_or_default(),
            self.read_time().await?,
        )?;
        Ok(StartProgramLoginResponse {
            login: Some(self.logins.start_at_pace(made).await?),
            device_code: code.text.to_string(),
        })
    }

    /// Returns the id of the login that a code finds while it is pending.
    pub(crate) async fn find_program_login(
        &self,
        user_code: &str,
    ) -> Result<String, IdentityError> {
        let code = read_user_code(user_code).ok_or(NO_PROGRAM_LOGIN)?;
        let now = self.read_time().await?;
        let reader = self.log.database().reader();
        let found = store::logins::find_login_of_code(reader, &code).await?;
        let found = found.map(|found| with_state_at(found, now));
        let pending = found.filter(|login| login.state() == LoginState::Pending);
        pending.map(|login| login.id).ok_or(NO_PROGRAM_LOGIN)
    }

    /// Opens the session of a program whose person has said yes: once only. The page of its login stays as it is.
    pub(crate) async fn open_program_session(
        &self,
        device_code: &str,
    ) -> Result<OpenProgramSessionResponse, IdentityError> {
        let code = PresentedToken::parse_as(TokenKind::DeviceCode, device_code);
        let hash = code.ok_or(NO_PROGRAM_LOGIN)?.hash();
        let now = self.read_time().await?;
        let reader = self.log.database().reader();
        let found = store::logins::find_login_of_program(reader, &hash).await?;
        let ProgramLogin { login, followed_at } = found.ok_or(NO_PROGRAM_LOGIN)?;
        let login = with_state_at(login, now);
        let unopened = |state: LoginState| OpenProgramSessionResponse {
            state: state.into(),
            denial: login.denial.clone(),
            ..OpenProgramSessionResponse::default()
        };
        if login.state() == LoginState::Pending && to_micros(now - NOTE_INTERVAL) >= followed_at {
            note_awaited(self.log.database(), vec![login.id.clone()]).await?;
        }
        if login.state() != LoginState::Approved {
            return Ok(unopened(login.state()));
        }
        let attempt = store::attempts::find_approved_attempt(reader, &login.id, now).await?;
        // A release that knows no programs lets a session approve one.
        let proven = attempt.filter(|attempt| attempt.connection_id != 0);
        let Some(attempt) = proven else {
            // How the person has logged in is not known any more, or has ended.
            return Ok(unopened(LoginState::Expired));
        };
        let program = describe_session(&login);
        let mut prepared = self.prepare_session(&attempt, program).await?;
        prepared.begun.program = true;
        let (tailnet, actor) = (prepared.tailnet, prepared.actor.clone());
        let opened = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                // A logout at the provider may have ended the attempt since it was read.
                let is_first = store::logins::take_program_codes(on, &attempt.login_id).await?
                    && store::attempts::take_approved(on, &attempt.id).await?;
                match is_first {
                    true => prepared.open(mutation).await,
                    false => Err(NO_PROGRAM_LOGIN),
                }
            })
        });
        let opened = opened.await?.0;
        Ok(OpenProgramSessionResponse {
            state: LoginState::Approved.into(),
            denial: String::new(),
            session: Some(opened.session),
            secret: opened.secret.to_string(),
        })
    }
}
