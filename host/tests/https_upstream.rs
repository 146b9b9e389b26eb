//! An upstream behind TLS: its certificate is checked, HTTP/2 is spoken where it is offered, and HTTP/1.1 elsewhere.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tollgate::key::Secret;
use tollgate::{Gateway, tower_service::Service as _};

const ANSWER: &str = r#"{"id":"x","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;

/// A provider with a certificate of its own. Returns its address, and a file with the certificate.
async fn provider(protocols: &[&str]) -> (SocketAddr, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let spoken = match request.version() {
                        Version::HTTP_2 => "2",
                        _ => "1.1",
                    };
                    let is_right = request.headers()["authorization"] == "Bearer sk-upstream";
                    let status = if is_right { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
                    Response::builder()
                        .status(status)
                        .header("content-type", "application/json")
                        .header("openai-version", spoken)
                        .body(Full::new(Bytes::from_static(ANSWER.as_bytes())))
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, file)
}

async fn ask(address: SocketAddr, ca_file: Option<&str>) -> Response<Bytes> {
    let key = Secret::generate().unwrap();
    let ca = ca_file.map_or(String::new(), |path| format!("ca_file = \"{path}\"\n"));
    let config = format!(
        "[upstreams.u]\nbase_url = \"https://localhost:{}/v1\"\napi_key = {{ env = \"U\" }}\n{ca}\n\
         [[models]]\nname = \"m\"\ntargets = [{{ upstream = \"u\" }}]\nprice = \"free\"\n\n\
         [[keys]]\nname = \"k\"\ndigest = \"{}\"\n",
        address.port(),
        key.digest()
    );
    let mut gateway = Gateway::builder(config).environment(|_| Some("sk-upstream".into())).build().unwrap();
    let request = Request::post("/v1/chat/completions")
        .header("authorization", format!("Bearer {}", key.reveal()))
        .body(Full::new(Bytes::from_static(br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#)))
        .unwrap();
    let (head, body) = gateway.call(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered() {
    let (address, certificate) = provider(&["h2", "http/1.1"]).await;
    let answer = ask(address, certificate.path().to_str()).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["openai-version"]), (200, &"2".parse().unwrap()));
    assert_eq!(answer.body(), ANSWER);
}

#[tokio::test]
async fn http_1_1_is_spoken_elsewhere() {
    let (address, certificate) = provider(&["http/1.1"]).await;
    let answer = ask(address, certificate.path().to_str()).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["openai-version"]),
        (200, &"1.1".parse().unwrap())
    );
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_no_upstream() {
    let (address, _certificate) = provider(&["h2", "http/1.1"]).await;
    let answer = ask(address, None).await;
    assert_eq!(answer.status(), 502);
    assert!(String::from_utf8_lossy(answer.body()).contains("upstream_unreachable"));
}
