<?php
// Installs WordPress and prints an application password for its REST API.
// argv: site address
define('WP_INSTALLING', true);
$_SERVER['HTTP_HOST'] = parse_url($argv[1], PHP_URL_HOST) . ':' . parse_url($argv[1], PHP_URL_PORT);
$_SERVER['REQUEST_URI'] = '/';
require dirname(__FILE__) . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';
wp_install('泉边论坛', 'editor', 'editor@example.invalid', true, '', wp_generate_password(24));
update_option('siteurl', $argv[1]);
update_option('home', $argv[1]);
update_option('timezone_string', 'Asia/Shanghai');
update_option('permalink_structure', '/archives/%post_id%/');
update_option('posts_per_rss', 30);
update_option('default_ping_status', 'closed');
wp_delete_post(1, true);
global $wp_rewrite;
$wp_rewrite->init();
$wp_rewrite->flush_rules(true);
$user = get_user_by('login', 'editor');
[$password] = WP_Application_Passwords::create_new_application_password($user->ID, ['name' => 'seed']);
echo $password, "\n";
