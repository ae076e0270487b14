//! What a test worker can be told by a message, each order a verb and its object.
//!
//! | order | what it does | its answer |
//! |---|---|---|
//! | `open WISH` | listens | as for the arguments |
//! | `close ADDRESS` | closes that listener and its connections | whether it was there |
//! | `tell NAME` | | its arguments, its directory, and that variable |
//! | `standing` | | how it stands with its master |
//! | `disconnect` | leaves its master, and ends when that is done | none |
//! | `disconnect and kill` | the same, and then kills itself | none |
//! | `kill` | kills itself | none |
//! | `exit CODE` | ends at once | none |
//! | `spin` | does nothing else from now on | a moment before |

use std::env;
use std::io;

use serde_json::{Value, json};

use crate::TestWorker;

impl TestWorker {
    pub(crate) async fn obey(&mut self, order: &str, number: &Value) -> io::Result<()> {
        let (verb, object) = order.split_once(' ').unwrap_or((order, ""));
        let answer = match verb {
            "open" => self.open(object).await,
            "close" => self.close(object).await,
            "tell" => tell(object)?,
            "standing" => json!({
                "connected": self.worker.is_connected(),
                "exited_after_disconnect": self.worker.exited_after_disconnect(),
            }),
            "disconnect" => {
                self.kills = object == "and kill";
                self.worker.disconnect();
                return Ok(());
            }
            "kill" => {
                self.worker.kill();
                return Ok(());
            }
            "exit" => std::process::exit(object.parse().map_err(io::Error::other)?),
            "spin" => Value::Null,
            _ => return Err(io::Error::other(format!("nobody taught it `{order}`"))),
        };
        self.say(&json!({ "answer": answer, "number": number }));
        if verb == "spin" {
            spin();
        }
        Ok(())
    }

    async fn close(&mut self, address: &str) -> Value {
        let Some(serving) = self.places.remove(address) else {
            return json!(false);
        };
        serving.abort();
        // Only now is the listener dropped; how the serving ended is of no interest.
        json!(serving.await.is_err())
    }
}

fn tell(name: &str) -> io::Result<Value> {
    let args: Vec<String> = env::args().skip(1).collect();
    Ok(json!({ "args": args, "cwd": env::current_dir()?, "variable": env::var(name).ok() }))
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}
