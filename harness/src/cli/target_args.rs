//! Which broker is under test, and how it and its topics are set up.

use clap::{Args, ValueEnum};

use crate::runtime::Program;

/// Whose broker is under test in a cluster that the harness starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The reference broker of this repository.
    #[default]
    Broker,
    /// Apache Kafka (KRaft, every node broker and controller), in containers.
    Kafka,
}

impl Target {
    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Kafka => "kafka",
        }
    }

    /// What plays the broker.
    #[must_use]
    pub fn program(self) -> Program {
        match self {
            Self::Broker => Program::Broker,
            Self::Kafka => Program::Kafka,
        }
    }
}

/// One setting, `KEY=VALUE`.
pub type Setting = (String, String);

/// Flags about the broker under test.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetArgs {
    /// The broker under test: ours, or Apache Kafka in containers (its image is made by
    /// `targets/kafka/build-image.sh`).
    #[arg(long, value_enum, default_value_t = Target::Broker)]
    pub target: Target,
    /// Image in which Apache Kafka runs, with Java on its PATH and the jars in /opt/kafka/libs
    /// [default: harness-kafka:4.3.1].
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// A setting of every broker, may be repeated: a property of Kafka
    /// (`unclean.leader.election.enable=true`), or a flag of ours without its dashes.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub broker_config: Vec<Setting>,
}

impl TargetArgs {
    /// Settings as the target's process takes them on its command line.
    #[must_use]
    pub fn broker_settings(&self) -> Vec<String> {
        let dashes = match self.target {
            Target::Broker => "--",
            Target::Kafka => "",
        };
        let settings = self.broker_config.iter();
        settings.map(|(k, v)| format!("{dashes}{k}={v}")).collect()
    }

    /// The same flags again, for a command that repeats a run.
    pub fn flags(&self) -> impl Iterator<Item = String> {
        let target = (self.target != Target::Broker)
            .then(|| ["--target".to_owned(), self.target.name().to_owned()]);
        let image = self.image.clone().map(|name| ["--image".to_owned(), name]);
        let settings = setting_flags("--broker-config", &self.broker_config);
        target.into_iter().chain(image).flatten().chain(settings)
    }

    /// What cannot be asked for together.
    ///
    /// # Errors
    /// A sentence that names the flags and the mend.
    pub fn validate(&self) -> Result<(), String> {
        if self.image.is_some() && self.target == Target::Broker {
            return Err(
                "--image needs --target kafka: the reference broker's image is built \
                        from this repository"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// Settings as flags of a command line.
pub(super) fn setting_flags(flag: &str, settings: &[Setting]) -> Vec<String> {
    let words = |(key, value): &Setting| [flag.to_owned(), format!("{key}={value}")];
    settings.iter().flat_map(words).collect()
}

/// Reads `KEY=VALUE`.
pub(super) fn parse_setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((key, _)) if key.is_empty() || key.contains(char::is_whitespace) => {
            Err(format!("`{text}` has no name before its `=`"))
        }
        // One property is one line.
        Some((_, value)) if value.contains(['\n', '\r']) => {
            Err(format!("the value in `{text}` has more than one line"))
        }
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("`{text}` is not KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_a_name_and_one_line() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(parse_setting("a.b=1"), Ok(pair("a.b", "1")));
        assert_eq!(parse_setting("a=b=c"), Ok(pair("a", "b=c")));
        assert_eq!(parse_setting("a="), Ok(pair("a", "")));
        for wrong in ["a", "=1", "a b=1", "a=1\nprocess.roles=broker"] {
            assert!(parse_setting(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_target_is_told_in_its_own_way() {
        let mut args = TargetArgs {
            broker_config: vec![("a".to_owned(), "1".to_owned())],
            ..TargetArgs::default()
        };
        assert_eq!(args.broker_settings(), ["--a=1"]);
        args.target = Target::Kafka;
        assert_eq!(args.broker_settings(), ["a=1"]);
        let flags: Vec<String> = args.flags().collect();
        assert_eq!(flags, ["--target", "kafka", "--broker-config", "a=1"]);
    }
}
