//! A collector of traces: the server side of OTLP over gRPC.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};

/// How long spans may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that keeps what it is sent; it ends with its handle.
pub struct TestCollector {
    endpoint: String,
    received: Received,
    _runtime: Runtime,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<ReceivedBatch>>>);

/// What proved the sender, and what it sent.
type ReceivedBatch = (Option<String>, ExportTraceServiceRequest);

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        self.0.lock().push((authorization, request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A span, and the process that recorded it.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    pub service: String,
    pub instance: String,
    pub span: Span,
}

impl TestCollector {
    pub fn start() -> Self {
        Self::start_server(Server::builder(), "http")
    }

    /// Starts one that speaks TLS with a certificate of its own; returns the certificate as well.
    pub fn start_with_tls() -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let identity = Identity::from_pem(&certificate, key);
        let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity));
        (Self::start_server(server.unwrap(), "https"), certificate)
    }

    fn start_server(mut server: Server, scheme: &'static str) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Received::default();
        let server = server.add_service(TraceServiceServer::new(received.clone()));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self {
            endpoint: format!("{scheme}://{address}"),
            received,
            _runtime: runtime,
        }
    }

    /// Returns where spans are sent.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns what proved the senders.
    pub fn authorizations(&self) -> BTreeSet<Option<String>> {
        let received = self.received.0.lock();
        received.iter().map(|(given, _)| given.clone()).collect()
    }

    /// Says whether a text is in anything that was sent.
    pub fn has_text(&self, text: &str) -> bool {
        let received = self.received.0.lock();
        received.iter().any(|(_, request)| {
            let bytes = request.encode_to_vec();
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        })
    }

    pub fn spans(&self) -> Vec<ReceivedSpan> {
        let received = self.received.0.lock();
        let resources = received
            .iter()
            .flat_map(|(_, request)| &request.resource_spans);
        let spans = resources.flat_map(|sent| {
            let about = sent.resource.as_ref().map(|about| &about.attributes);
            let text = |key| match about.and_then(|about| find(about, key)) {
                Some(Value::StringValue(text)) => text.clone(),
                _ => String::new(),
            };
            let (service, instance) = (text("service.name"), text("service.instance.id"));
            let spans = sent.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(move |span| ReceivedSpan {
                service: service.clone(),
                instance: instance.clone(),
                span: span.clone(),
            })
        });
        spans.collect()
    }

    /// Returns the spans of each trace.
    pub fn traces(&self) -> BTreeMap<Vec<u8>, Vec<ReceivedSpan>> {
        let mut traces = BTreeMap::<_, Vec<_>>::new();
        for span in self.spans() {
            let trace = span.span.trace_id.clone();
            traces.entry(trace).or_default().push(span);
        }
        traces
    }

    /// Waits for a trace that begins with a span of this name and is as it should be.
    #[track_caller]
    pub fn wait_for_trace(
        &self,
        root: &str,
        is_whole: impl Fn(&[ReceivedSpan]) -> bool,
    ) -> Vec<ReceivedSpan> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let begins = |trace: &&Vec<ReceivedSpan>| {
                let mut spans = trace.iter();
                spans.any(|span| span.is_root() && span.span.name == root)
            };
            let traces = self.traces();
            let found: Vec<_> = traces.values().filter(begins).collect();
            if let Some(whole) = found.iter().find(|trace| is_whole(trace)) {
                return (*whole).clone();
            }
            assert!(Instant::now() < deadline, "{root}: {:#?}", outlines(&found));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Returns what traces consist of, for a person to read.
fn outlines(traces: &[&Vec<ReceivedSpan>]) -> Vec<Vec<String>> {
    let outline = |span: &ReceivedSpan| format!("{}: {}", span.service, span.span.name);
    let trace = |trace: &&Vec<ReceivedSpan>| trace.iter().map(outline).collect();
    traces.iter().map(trace).collect()
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

impl ReceivedSpan {
    pub fn is_root(&self) -> bool {
        self.span.parent_span_id.is_empty()
    }

    pub fn is(&self, service: &str, name: &str) -> bool {
        self.service == service && self.span.name == name
    }

    /// Returns a number that it notes.
    pub fn number(&self, key: &str) -> Option<i64> {
        match find(&self.span.attributes, key)? {
            Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }
}
