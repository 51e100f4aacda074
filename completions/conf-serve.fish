complete -c conf-serve -l room -d 'The room in the join link; others come into being when somebody joins them' -r
complete -c conf-serve -l max-members -d 'Members that a room takes' -r
complete -c conf-serve -l grace -d 'How long a member whose network broke is waited for' -r
complete -c conf-serve -l room-grace -d 'How long an empty room is kept' -r
complete -c conf-serve -l log-file -d 'Write the log to a file instead of stderr' -r -F
complete -c conf-serve -l log-format -d 'How the log is written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c conf-serve -l color -d 'When to use colours on stderr' -r -f -a "auto\t'Where it makes sense'
always\t'Everywhere'
never\t'Nowhere'"
complete -c conf-serve -l completions -d 'Print the completions of a shell' -r -f -a "bash\t''
elvish\t''
fish\t''
powershell\t''
zsh\t''"
complete -c conf-serve -l qr -d 'Show the join link as a QR code too'
complete -c conf-serve -s q -l quiet -d 'Say less: errors only'
complete -c conf-serve -s v -l verbose -d 'Say more; twice for everything'
complete -c conf-serve -l no-input -d 'Never ask anything'
complete -c conf-serve -l man -d 'Print the manual page'
complete -c conf-serve -s h -l help -d 'Print help (see more with \'--help\')'
complete -c conf-serve -s V -l version -d 'Print version'
