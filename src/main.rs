//! tmp
use clap::Parser;
#[derive(clap::Parser)]
enum C {
    Dev(quorate::cli::dev::DevArgs),
    Server(quorate::cli::server::ServerArgs),
    Cert(quorate::cli::cert::CertArgs),
    Sim(quorate::cli::sim::SimArgs),
}
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let r = match C::parse() {
        C::Dev(a) => quorate::cli::dev::run(a),
        C::Server(a) => quorate::cli::server::run(a),
        C::Cert(a) => quorate::cli::cert::run(a),
        C::Sim(a) => quorate::cli::sim::run(a),
    };
    if let Err(e) = r {
        eprintln!("{e:#}");
        std::process::exit(1)
    }
}
